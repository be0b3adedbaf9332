/**
 * What is kept of the objects of a cluster: a pod as the API server gives it takes some 30 KB of memory, and what the
 * control plane ever reads of it a twentieth of that.
 */
import type { Json, KubeObject } from '../../kube/types.ts';
import { proxyContainer } from '../../protocol/names.ts';
import { keptProbes } from '../policy/probes.ts';

/** Written by kubectl: the whole manifest once more. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';
const metadataKept = ['name', 'namespace', 'uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp'] as const;

/** The fields that are there. */
function pick(object: Json, names: readonly string[]): Json {
  const kept: Json = {};
  for (const name of names) if (object?.[name] !== undefined) kept[name] = object[name];
  return kept;
}

function metadataOf({ metadata }: KubeObject, annotationKept: (name: string) => boolean): KubeObject['metadata'] {
  const { labels, ownerReferences } = metadata;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([name]) => annotationKept(name));
  return {
    ...pick(metadata, metadataKept),
    ...(labels ? { labels } : {}),
    ...(annotations.length > 0 ? { annotations: Object.fromEntries(annotations) } : {}),
    ...(ownerReferences
      ? {
          ownerReferences: ownerReferences.map((one) => pick(one, ['apiVersion', 'kind', 'name', 'uid', 'controller'])),
        }
      : {}),
  };
}

const notLastApplied = (name: string): boolean => name !== lastApplied;

/**
 * Ports, users and images say whether it can have a proxy, probes what is no traffic; of the proxy's settings, the one that
 * others must know.
 */
function containerOf(container: Json): Json {
  const user = container.securityContext?.runAsUser;
  const kept = pick(container, ['name', 'image']);
  if (container.ports)
    kept.ports = container.ports.map((one: Json) => pick(one, ['name', 'containerPort', 'protocol']));
  if (user !== undefined) kept.securityContext = { runAsUser: user };
  if (container.name !== proxyContainer) return { ...kept, ...keptProbes(container) };
  if (container.env) kept.env = container.env?.filter((one: Json) => one.name === 'MESH_PROXY_OPAQUE_PORTS');
  return kept;
}

export function keptPod(pod: KubeObject): KubeObject {
  const { spec, status } = pod;
  const kept = pick(spec, ['serviceAccountName', 'hostNetwork', 'os', 'nodeSelector', 'readinessGates']);
  const user = spec.securityContext?.runAsUser;
  if (user !== undefined) kept.securityContext = { runAsUser: user };
  for (const field of ['containers', 'initContainers']) if (spec[field]) kept[field] = spec[field].map(containerOf);
  return {
    ...{ apiVersion: pod.apiVersion, kind: pod.kind },
    metadata: metadataOf(pod, notLastApplied),
    spec: kept,
    status: { ...pick(status, ['phase', 'podIP', 'podIPs']), ...conditionsOf(pod) },
  };
}

/** Those by which the control plane tells a pod that is not ready from one whose node is silent. */
function conditionsOf({ spec, status }: KubeObject): Json {
  const read = new Set(['ContainersReady', ...(spec.readinessGates ?? []).map((gate: Json) => gate.conditionType)]);
  const conditions = (status?.conditions ?? []).filter((one: Json) => read.has(one.type));
  return conditions.length > 0 ? { conditions: conditions.map((one: Json) => pick(one, ['type', 'status'])) } : {};
}

export function keptService(service: KubeObject): KubeObject {
  const { spec } = service;
  const kept = pick(spec, ['clusterIP', 'clusterIPs', 'selector', 'publishNotReadyAddresses', 'type']);
  if (spec.ports)
    kept.ports = spec.ports.map((one: Json) => pick(one, ['name', 'port', 'protocol', 'targetPort', 'appProtocol']));
  return {
    ...{ apiVersion: service.apiVersion, kind: service.kind },
    metadata: metadataOf(service, notLastApplied),
    spec: kept,
  };
}

export function keptSlice(slice: KubeObject): KubeObject {
  return {
    ...{ apiVersion: slice.apiVersion, kind: slice.kind, addressType: slice.addressType },
    metadata: metadataOf(slice, () => false),
    ports: slice.ports?.map((one: Json) => pick(one, ['name', 'port'])),
    endpoints: slice.endpoints?.map((one: Json) => ({
      ...pick(one, ['addresses', 'conditions']),
      // Of what it stands for, the name of the pod is read.
      ...(one.targetRef?.kind === 'Pod' ? { pod: one.targetRef.name } : {}),
    })),
  };
}

export function keptNamespace(namespace: KubeObject): KubeObject {
  const { apiVersion, kind } = namespace;
  return { apiVersion, kind, metadata: metadataOf(namespace, notLastApplied) };
}
