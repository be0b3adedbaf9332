/** The cluster roles that every cluster has, for manifests that bind them. */
import type { Json, KubeObject } from '../../kube/types.ts';

const read = ['get', 'list', 'watch'];
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'];

/** What `view`, `edit` and `admin` are about; secrets are seen by those who may change them. */
const ordinary: Record<string, string[]> = {
  '': [
    'bindings',
    'configmaps',
    'endpoints',
    'events',
    'persistentvolumeclaims',
    'pods',
    'pods/log',
    'pods/status',
    'replicationcontrollers',
    'serviceaccounts',
    'services',
    'services/status',
  ],
  apps: [
    'controllerrevisions',
    'daemonsets',
    'deployments',
    'deployments/scale',
    'replicasets',
    'replicasets/scale',
    'statefulsets',
    'statefulsets/scale',
  ],
  batch: ['cronjobs', 'jobs'],
  'discovery.k8s.io': ['endpointslices'],
  policy: ['poddisruptionbudgets'],
};

const rule = (group: string, resources: string[], verbs: string[]): Json => ({ apiGroups: [group], resources, verbs });
const groups = Object.entries(ordinary);
const view = [...groups.map(([group, list]) => rule(group, list, read)), rule('', ['namespaces'], read)];
const edit = [
  ...view,
  ...groups.map(([group, list]) => rule(group, list, write)),
  rule('', ['secrets'], [...read, ...write]),
  rule('', ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/eviction'], ['get', 'create']),
  rule('', ['serviceaccounts/token'], ['create']),
];
const admin = [...edit, rule('rbac.authorization.k8s.io', ['roles', 'rolebindings'], [...read, ...write])];
const everything = [rule('*', ['*'], ['*']), { nonResourceURLs: ['*'], verbs: ['*'] }];

const role = (name: string, rules: Json[]): KubeObject => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name, labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' } },
  rules,
});

export const defaultRoles: KubeObject[] = [
  role('cluster-admin', everything),
  role('admin', admin),
  role('edit', edit),
  role('view', view),
];
