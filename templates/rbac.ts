/** The rights of the control plane: what it reads, and the few objects it writes. */
import type { KubeObject } from '../kube/types.ts';
import { controlName, identitySecret, issuerSecret, webhookName } from '../protocol/names.ts';

const group = 'rbac.authorization.k8s.io';
const read = ['get', 'list', 'watch'];

type Labels = Record<string, string>;

export function serviceAccount(namespace: string, labels: Labels): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: controlName, namespace, labels } };
}

export function clusterRights(namespace: string, labels: Labels): KubeObject[] {
  const name = controlName;
  const rules = [
    { apiGroups: [''], resources: ['pods', 'services', 'namespaces', 'nodes'], verbs: read },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: read },
    { apiGroups: ['apps'], resources: ['replicasets'], verbs: read },
    { apiGroups: ['batch'], resources: ['jobs'], verbs: read },
    // The trust bundle lies in every namespace; RBAC cannot limit `create` by name.
    { apiGroups: [''], resources: ['configmaps'], verbs: [...read, 'create', 'update'] },
    { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    {
      apiGroups: ['admissionregistration.k8s.io'],
      resources: ['mutatingwebhookconfigurations'],
      resourceNames: [webhookName],
      verbs: ['get', 'update', 'patch'],
    },
  ];
  return [
    { apiVersion: `${group}/v1`, kind: 'ClusterRole', metadata: { name, labels }, rules },
    {
      apiVersion: `${group}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name, labels },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name: controlName, namespace }],
    },
  ];
}

/** The keys of the mesh lie in its own namespace, and only there may it read secrets. */
export function namespaceRights(namespace: string, labels: Labels): KubeObject[] {
  const name = controlName;
  const rules = [
    { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
    {
      apiGroups: [''],
      resources: ['secrets'],
      resourceNames: [identitySecret],
      verbs: ['get', 'update', 'patch'],
    },
    { apiGroups: [''], resources: ['secrets'], resourceNames: [issuerSecret], verbs: ['get'] },
  ];
  return [
    { apiVersion: `${group}/v1`, kind: 'Role', metadata: { name, namespace, labels }, rules },
    {
      apiVersion: `${group}/v1`,
      kind: 'RoleBinding',
      metadata: { name, namespace, labels },
      roleRef: { apiGroup: group, kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name: controlName, namespace }],
    },
  ];
}
