/** EndpointSlice and Endpoints of each service with a selector: its pods' addresses, ready or not. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey } from './controller.ts';
import { isReady, matches, ownedBy, podType } from './workload.ts';

interface Entry {
  pod: KubeObject;
  ip: string;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
}

function portNumber(pod: KubeObject, target: number | string): number | undefined {
  if (typeof target === 'number') return target;
  for (const container of [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])]) {
    const port = container.ports?.find((entry: Json) => entry.name === target);
    if (port) return port.containerPort;
  }
  return undefined;
}

export async function reconcileEndpoints(objects: Objects, key: string): Promise<void> {
  const { namespace, name } = splitKey(key);
  const service = objects.get(resources.services, name, namespace);
  if (!service || service.metadata.deletionTimestamp || !service.spec.selector || service.spec.type === 'ExternalName')
    return;
  const entries: Entry[] = objects
    .list(podType, { namespace })
    .filter((pod) => matches({ matchLabels: service.spec.selector }, pod.metadata.labels))
    .filter((pod) => pod.status?.podIP && pod.status.phase !== 'Succeeded' && pod.status.phase !== 'Failed')
    .sort((a, b) => a.metadata.name!.localeCompare(b.metadata.name!))
    .map((pod) => {
      const terminating = pod.metadata.deletionTimestamp !== undefined;
      const serving = isReady(pod);
      const ready = (serving && !terminating) || service.spec.publishNotReadyAddresses === true;
      return { pod, ip: pod.status.podIP, ready, serving, terminating };
    });
  // Pods may resolve a named port to different numbers: one slice for each set of numbers.
  const groups = new Map<string, { ports: Json[]; entries: Entry[] }>();
  for (const entry of entries) {
    const ports: Json[] = [];
    for (const port of service.spec.ports ?? []) {
      const number = portNumber(entry.pod, port.targetPort ?? port.port);
      if (number !== undefined)
        ports.push({
          name: port.name ?? '',
          port: number,
          protocol: port.protocol ?? 'TCP',
          ...(port.appProtocol ? { appProtocol: port.appProtocol } : {}),
        });
    }
    const id = JSON.stringify(ports);
    const group = groups.get(id) ?? { ports, entries: [] };
    group.entries.push(entry);
    groups.set(id, group);
  }
  if (groups.size === 0) groups.set('', { ports: [], entries: [] });
  let index = 0;
  for (const { ports, entries: members } of groups.values()) {
    await put(objects, service, resources.endpointSlices, sliceName(name, index++), {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      addressType: 'IPv4',
      ports,
      endpoints: members.map((member) => ({
        addresses: [member.ip],
        conditions: { ready: member.ready, serving: member.serving, terminating: member.terminating },
        nodeName: member.pod.spec.nodeName,
        ...(member.pod.spec.hostname && member.pod.spec.subdomain === name
          ? { hostname: member.pod.spec.hostname }
          : {}),
        targetRef: reference(member.pod),
      })),
    });
  }
  for (const slice of objects.list(resources.endpointSlices, {
    namespace,
    labels: { 'kubernetes.io/service-name': name },
  })) {
    const number = slice.metadata.name!.startsWith(`${name}-s`)
      ? Number(slice.metadata.name!.slice(name.length + 2))
      : Number.NaN;
    if (number >= groups.size) await objects.delete(resources.endpointSlices, slice.metadata.name!, namespace);
  }
  await put(objects, service, resources.endpoints, name, {
    apiVersion: 'v1',
    kind: 'Endpoints',
    subsets: [...groups.values()]
      .filter((group) => group.entries.length > 0)
      .map((group) => ({
        addresses: group.entries
          .filter((entry) => entry.ready)
          .map((entry) => ({ ip: entry.ip, targetRef: reference(entry.pod) })),
        notReadyAddresses: group.entries
          .filter((entry) => !entry.ready)
          .map((entry) => ({ ip: entry.ip, targetRef: reference(entry.pod) })),
        ports: group.ports.map(({ appProtocol: _, ...port }) => port),
      })),
  });
}

const sliceName = (service: string, index: number): string => `${service}-s${index}`;

function reference(pod: KubeObject): Json {
  return { kind: 'Pod', name: pod.metadata.name, namespace: pod.metadata.namespace, uid: pod.metadata.uid };
}

/** Creates the object or writes it anew where its content differs. */
async function put(
  objects: Objects,
  service: KubeObject,
  type: (typeof resources)[keyof typeof resources],
  name: string,
  content: Json,
): Promise<void> {
  const namespace = service.metadata.namespace!;
  const stored = objects.get(type, name, namespace);
  if (!stored) {
    await objects.create(type, {
      ...content,
      metadata: {
        name,
        namespace,
        labels: {
          ...service.metadata.labels,
          'kubernetes.io/service-name': service.metadata.name!,
          'endpointslice.kubernetes.io/managed-by': 'mesh-local',
        },
        ownerReferences: [ownedBy(service)],
      },
    });
    return;
  }
  const { apiVersion: _version, kind: _kind, ...fields } = content;
  const same = Object.entries(fields).every(
    ([field, value]) => JSON.stringify(stored[field]) === JSON.stringify(value),
  );
  if (!same) await objects.update(type, { ...structuredClone(stored), ...fields });
}
