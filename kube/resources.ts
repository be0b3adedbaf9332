/** The resource types the mesh itself reads or writes; others are found by discovery. */
import type { ResourceType } from './types.ts';

function type(group: string, version: string, kind: string, plural: string, namespaced = true): ResourceType {
  return { group, version, kind, plural, namespaced };
}

export const resources = {
  namespaces: type('', 'v1', 'Namespace', 'namespaces', false),
  nodes: type('', 'v1', 'Node', 'nodes', false),
  pods: type('', 'v1', 'Pod', 'pods'),
  services: type('', 'v1', 'Service', 'services'),
  endpoints: type('', 'v1', 'Endpoints', 'endpoints'),
  configMaps: type('', 'v1', 'ConfigMap', 'configmaps'),
  secrets: type('', 'v1', 'Secret', 'secrets'),
  serviceAccounts: type('', 'v1', 'ServiceAccount', 'serviceaccounts'),
  events: type('', 'v1', 'Event', 'events'),
  replicationControllers: type('', 'v1', 'ReplicationController', 'replicationcontrollers'),
  persistentVolumeClaims: type('', 'v1', 'PersistentVolumeClaim', 'persistentvolumeclaims'),
  deployments: type('apps', 'v1', 'Deployment', 'deployments'),
  replicaSets: type('apps', 'v1', 'ReplicaSet', 'replicasets'),
  statefulSets: type('apps', 'v1', 'StatefulSet', 'statefulsets'),
  daemonSets: type('apps', 'v1', 'DaemonSet', 'daemonsets'),
  controllerRevisions: type('apps', 'v1', 'ControllerRevision', 'controllerrevisions'),
  jobs: type('batch', 'v1', 'Job', 'jobs'),
  cronJobs: type('batch', 'v1', 'CronJob', 'cronjobs'),
  endpointSlices: type('discovery.k8s.io', 'v1', 'EndpointSlice', 'endpointslices'),
  leases: type('coordination.k8s.io', 'v1', 'Lease', 'leases'),
  podDisruptionBudgets: type('policy', 'v1', 'PodDisruptionBudget', 'poddisruptionbudgets'),
  networkPolicies: type('networking.k8s.io', 'v1', 'NetworkPolicy', 'networkpolicies'),
  roles: type('rbac.authorization.k8s.io', 'v1', 'Role', 'roles'),
  roleBindings: type('rbac.authorization.k8s.io', 'v1', 'RoleBinding', 'rolebindings'),
  clusterRoles: type('rbac.authorization.k8s.io', 'v1', 'ClusterRole', 'clusterroles', false),
  clusterRoleBindings: type('rbac.authorization.k8s.io', 'v1', 'ClusterRoleBinding', 'clusterrolebindings', false),
  mutatingWebhooks: type(
    'admissionregistration.k8s.io',
    'v1',
    'MutatingWebhookConfiguration',
    'mutatingwebhookconfigurations',
    false,
  ),
  customResourceDefinitions: type(
    'apiextensions.k8s.io',
    'v1',
    'CustomResourceDefinition',
    'customresourcedefinitions',
    false,
  ),
  tokenReviews: type('authentication.k8s.io', 'v1', 'TokenReview', 'tokenreviews', false),
  subjectAccessReviews: type('authorization.k8s.io', 'v1', 'SubjectAccessReview', 'subjectaccessreviews', false),
  selfSubjectAccessReviews: type(
    'authorization.k8s.io',
    'v1',
    'SelfSubjectAccessReview',
    'selfsubjectaccessreviews',
    false,
  ),
} as const;
