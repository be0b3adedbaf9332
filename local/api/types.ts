/** Types the server knows: the fixed ones and what custom resource definitions add. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { validatingWebhooks } from './admission.ts';
import { type CustomKind, hasStatus, scalePaths } from './custom.ts';

const shortNames: Record<string, string[]> = {
  namespaces: ['ns'],
  nodes: ['no'],
  pods: ['po'],
  services: ['svc'],
  endpoints: ['ep'],
  configmaps: ['cm'],
  serviceaccounts: ['sa'],
  events: ['ev'],
  replicationcontrollers: ['rc'],
  persistentvolumeclaims: ['pvc'],
  deployments: ['deploy'],
  replicasets: ['rs'],
  statefulsets: ['sts'],
  daemonsets: ['ds'],
  cronjobs: ['cj'],
  poddisruptionbudgets: ['pdb'],
  networkpolicies: ['netpol'],
  customresourcedefinitions: ['crd', 'crds'],
};
const scalable = new Set(['deployments', 'replicasets', 'statefulsets']);
const reviews = /reviews$/;
/** Asked by kubectl only (`auth whoami`, `auth can-i --list`). */
const selfReviews: ResourceType[] = [
  ['authentication.k8s.io', 'SelfSubjectReview'] as const,
  ['authorization.k8s.io', 'SelfSubjectRulesReview'] as const,
].map(([group, kind]) => ({ group, version: 'v1', kind, plural: `${kind.toLowerCase()}s`, namespaced: false }));

function custom(definition: KubeObject): ServedType[] {
  const { group, names, scope, versions } = definition.spec;
  return versions
    .filter((version: Json) => version.served)
    .map((version: Json) => ({
      group,
      version: version.name,
      plural: names.plural,
      kind: names.kind,
      namespaced: scope === 'Namespaced',
      custom: { definition, version },
    }));
}

/** A type, and what defines it where it is not built in. */
export interface ServedType extends ResourceType {
  custom?: CustomKind;
}

/** Every type served now. */
export function servedTypes(objects: Objects): ServedType[] {
  return [
    ...Object.values(resources),
    ...selfReviews,
    validatingWebhooks,
    ...objects.list(resources.customResourceDefinitions).flatMap(custom),
  ];
}

export function findType(objects: Objects, group: string, version: string, plural: string): ServedType | undefined {
  return servedTypes(objects).find(
    (type) => type.plural === plural && type.group === group && type.version === version,
  );
}

/** Group → version → types, in discovery's order: core first. */
export function grouped(types: ServedType[]): Map<string, Map<string, ServedType[]>> {
  const groups = new Map<string, Map<string, ServedType[]>>();
  for (const type of types) {
    const versions = groups.get(type.group) ?? new Map<string, ServedType[]>();
    groups.set(type.group, versions);
    versions.set(type.version, [...(versions.get(type.version) ?? []), type]);
  }
  return groups;
}

const verbsOf = (type: ResourceType): string[] =>
  reviews.test(type.plural)
    ? ['create']
    : ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

function resourceList(groupVersion: string, types: ServedType[]): object {
  const list = types.flatMap((type) => {
    const own = {
      name: type.plural,
      singularName: type.custom?.definition.spec.names.singular ?? type.kind.toLowerCase(),
      namespaced: type.namespaced,
      kind: type.kind,
      verbs: verbsOf(type),
      shortNames: type.custom?.definition.spec.names.shortNames ?? shortNames[type.plural] ?? [],
      categories: [
        'pods',
        'services',
        'deployments',
        'replicasets',
        'statefulsets',
        'daemonsets',
        'jobs',
        'cronjobs',
      ].includes(type.plural)
        ? ['all']
        : (type.custom?.definition.spec.names.categories ?? []),
    };
    if (reviews.test(type.plural)) return [own];
    const subresources: object[] = [own];
    if (!type.custom || hasStatus(type.custom))
      subresources.push({
        name: `${type.plural}/status`,
        singularName: '',
        namespaced: type.namespaced,
        kind: type.kind,
        verbs: ['get', 'patch', 'update'],
      });
    if (type.custom ? scalePaths(type.custom) : scalable.has(type.plural))
      subresources.push({
        name: `${type.plural}/scale`,
        singularName: '',
        namespaced: type.namespaced,
        group: 'autoscaling',
        version: 'v1',
        kind: 'Scale',
        verbs: ['get', 'patch', 'update'],
      });
    if (type.plural === 'pods') {
      subresources.push({ name: 'pods/log', singularName: '', namespaced: true, kind: 'Pod', verbs: ['get'] });
      subresources.push({
        name: 'pods/portforward',
        singularName: '',
        namespaced: true,
        kind: 'PodPortForwardOptions',
        verbs: ['create', 'get'],
      });
      subresources.push({
        name: 'pods/exec',
        singularName: '',
        namespaced: true,
        kind: 'PodExecOptions',
        verbs: ['create', 'get'],
      });
      subresources.push({
        name: 'pods/attach',
        singularName: '',
        namespaced: true,
        kind: 'PodAttachOptions',
        verbs: ['create', 'get'],
      });
      subresources.push({
        name: 'pods/eviction',
        singularName: '',
        namespaced: true,
        group: 'policy',
        version: 'v1',
        kind: 'Eviction',
        verbs: ['create'],
      });
    }
    if (type.plural === 'serviceaccounts')
      subresources.push({
        name: 'serviceaccounts/token',
        singularName: '',
        namespaced: true,
        group: 'authentication.k8s.io',
        version: 'v1',
        kind: 'TokenRequest',
        verbs: ['create'],
      });
    return subresources;
  });
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: list };
}

const apiGroup = (name: string, versions: Iterable<string>): object => {
  const list = [...versions].map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: list, preferredVersion: list[0] };
};

/** Answers of the discovery paths, aggregated forms left out: clients fall back to these. */
export function discovery(objects: Objects, path: string): object | undefined {
  const groups = grouped(servedTypes(objects));
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/api/v1') return resourceList('v1', groups.get('')!.get('v1')!);
  const named = [...groups].filter(([name]) => name !== '');
  if (path === '/apis')
    return {
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: named.map(([name, versions]) => apiGroup(name, versions.keys())),
    };
  const [, , group, version] = path.split('/');
  const versions = groups.get(group ?? '');
  if (!path.startsWith('/apis/') || !group || !versions) return undefined;
  if (!version) return { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group, versions.keys()) };
  const types = versions.get(version);
  return types && resourceList(`${group}/${version}`, types);
}
