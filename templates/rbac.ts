/** The rights of the control plane: what it reads, and the few objects it writes. docs/rbac.md says why, line by line. */
import type { KubeObject } from '../kube/types.ts';
import { controlName, identitySecret, issuerSecret, trustBundleConfigMap, webhookName } from '../protocol/names.ts';

const group = 'rbac.authorization.k8s.io';
const read = ['get', 'list', 'watch'];

type Labels = Record<string, string>;

export interface Rule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}

export const clusterRules: Rule[] = [
  { apiGroups: [''], resources: ['namespaces', 'pods', 'services'], verbs: read },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: read },
  { apiGroups: [''], resources: ['configmaps'], resourceNames: [trustBundleConfigMap], verbs: [...read, 'update'] },
  // RBAC cannot limit `create` by name.
  { apiGroups: [''], resources: ['configmaps'], verbs: ['create'] },
  { apiGroups: [''], resources: ['events'], verbs: ['create'] },
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  {
    apiGroups: ['admissionregistration.k8s.io'],
    resources: ['mutatingwebhookconfigurations'],
    resourceNames: [webhookName],
    verbs: ['get', 'update'],
  },
];

/** The keys of the mesh lie in its own namespace, and only there may it read secrets. */
export const namespaceRules: Rule[] = [
  { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
  { apiGroups: [''], resources: ['secrets'], resourceNames: [identitySecret], verbs: ['get', 'update'] },
  { apiGroups: [''], resources: ['secrets'], resourceNames: [issuerSecret], verbs: ['get'] },
];

export function serviceAccount(namespace: string, labels: Labels): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: controlName, namespace, labels } };
}

export function clusterRights(namespace: string, labels: Labels): KubeObject[] {
  const name = controlName;
  return [
    { apiVersion: `${group}/v1`, kind: 'ClusterRole', metadata: { name, labels }, rules: clusterRules },
    {
      apiVersion: `${group}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name: controlName, namespace }],
    },
  ];
}

export function namespaceRights(namespace: string, labels: Labels): KubeObject[] {
  const name = controlName;
  return [
    { apiVersion: `${group}/v1`, kind: 'Role', metadata: { name, namespace, labels }, rules: namespaceRules },
    {
      apiVersion: `${group}/v1`,
      kind: 'RoleBinding',
      metadata: { name, namespace, labels },
      roleRef: { apiGroup: group, kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name: controlName, namespace }],
    },
  ];
}
