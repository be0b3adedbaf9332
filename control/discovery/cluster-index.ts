/** What discovery knows of the cluster: pods by IP, services by cluster IP, and whose change concerns whom. */
import type { Informer, KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Workload } from '../../protocol/discovery.ts';
import { formatSpiffeId, type SpiffeId } from '../../protocol/identity.ts';
import { meshedLabel, proxyContainer, workloadAnnotation } from '../../protocol/names.ts';

/** Names one thing a computed state depends on. */
export type Dependency = `ip:${string}` | `service:${string}` | `pod:${string}`;

export class ClusterIndex {
  readonly pods: Informer;
  readonly services: Informer;
  readonly slices: Informer;
  readonly synced: Promise<void>;
  readonly #podsByIp = new Map<string, KubeObject>();
  readonly #servicesByIp = new Map<string, KubeObject>();
  readonly #slicesByService = new Map<string, Map<string, KubeObject>>();
  /** Services that have an endpoint at an IP, by slice name. */
  readonly #servicesByEndpoint = new Map<string, Map<string, string>>();
  /** The addresses an object was last indexed under. */
  readonly #held = new Map<string, string[]>();
  readonly #listeners: ((changed: Dependency[]) => void)[] = [];

  constructor(kube: KubeClient) {
    this.pods = kube.informer(resources.pods);
    this.services = kube.informer(resources.services);
    this.slices = kube.informer(resources.endpointSlices);
    this.pods.on(({ type, object }) => this.#onPod(object, type === 'DELETED'));
    this.services.on(({ type, object }) => this.#onService(object, type === 'DELETED'));
    this.slices.on(({ type, object }) => this.#onSlice(object, type === 'DELETED'));
    this.synced = Promise.all([this.pods.synced, this.services.synced, this.slices.synced]).then(() => {});
  }

  onChange(listener: (changed: Dependency[]) => void): void {
    this.#listeners.push(listener);
  }

  podAt(ip: string): KubeObject | undefined {
    return this.#podsByIp.get(ip);
  }

  serviceAt(ip: string): KubeObject | undefined {
    return this.#servicesByIp.get(ip);
  }

  slicesOf(service: string): Iterable<KubeObject> {
    return this.#slicesByService.get(service)?.values() ?? [];
  }

  /** Services with an endpoint at this IP. */
  servicesWithEndpoint(ip: string): KubeObject[] {
    const keys = new Set(this.#servicesByEndpoint.get(ip)?.values());
    return [...keys].flatMap((key) => {
      const [namespace, name] = key.split('/') as [string, string];
      return this.services.get(namespace, name) ?? [];
    });
  }

  stop(): void {
    for (const informer of [this.pods, this.services, this.slices]) informer.stop();
  }

  #emit(changed: Dependency[]): void {
    for (const listener of this.#listeners) listener(changed);
  }

  /** Replaces the addresses an object is indexed under; answers the old and the new ones. */
  #hold(id: string, ips: string[]): { before: string[]; all: string[] } {
    const before = this.#held.get(id) ?? [];
    if (ips.length > 0) this.#held.set(id, ips);
    else this.#held.delete(id);
    return { before, all: [...new Set([...before, ...ips])] };
  }

  #onPod(pod: KubeObject, gone: boolean): void {
    const key = keyOf(pod);
    // A finished pod's address may already be another's; a host-network pod's is the node's.
    const indexed = !gone && !isFinished(pod) && pod.spec?.hostNetwork !== true;
    const ips = indexed ? podIps(pod) : [];
    const { before, all } = this.#hold(`pod:${key}`, ips);
    for (const ip of before) {
      const there = this.#podsByIp.get(ip);
      if (there && keyOf(there) === key) this.#podsByIp.delete(ip);
    }
    for (const ip of ips) this.#podsByIp.set(ip, pod);
    this.#emit([`pod:${key}`, ...all.map((ip) => `ip:${ip}` as const)]);
  }

  #onService(service: KubeObject, gone: boolean): void {
    const key = keyOf(service);
    const listed: string[] = service.spec?.clusterIPs ?? [service.spec?.clusterIP];
    const ips = gone ? [] : listed.filter((ip) => ip && ip !== 'None');
    const { before, all } = this.#hold(`service:${key}`, ips);
    for (const ip of before) {
      const there = this.#servicesByIp.get(ip);
      if (there && keyOf(there) === key) this.#servicesByIp.delete(ip);
    }
    for (const ip of ips) this.#servicesByIp.set(ip, service);
    const endpoints = [...this.slicesOf(key)].flatMap(sliceIps);
    this.#emit([`service:${key}`, ...[...all, ...endpoints].map((ip) => `ip:${ip}` as const)]);
  }

  #onSlice(slice: KubeObject, gone: boolean): void {
    const owner = slice.metadata.labels?.['kubernetes.io/service-name'];
    if (!owner) return;
    const service = `${slice.metadata.namespace}/${owner}`;
    const key = keyOf(slice);
    const slices = this.#slicesByService.get(service) ?? new Map<string, KubeObject>();
    if (gone) slices.delete(key);
    else slices.set(key, slice);
    if (slices.size > 0) this.#slicesByService.set(service, slices);
    else this.#slicesByService.delete(service);
    const ips = gone ? [] : sliceIps(slice);
    const { before, all } = this.#hold(`slice:${key}`, ips);
    for (const ip of before) {
      const at = this.#servicesByEndpoint.get(ip);
      at?.delete(key);
      if (at?.size === 0) this.#servicesByEndpoint.delete(ip);
    }
    for (const ip of ips) {
      const at = this.#servicesByEndpoint.get(ip) ?? new Map<string, string>();
      this.#servicesByEndpoint.set(ip, at.set(key, service));
    }
    this.#emit([`service:${service}`, ...all.map((ip) => `ip:${ip}` as const)]);
  }
}

export const keyOf = (object: KubeObject): string => `${object.metadata.namespace ?? ''}/${object.metadata.name}`;

export const isFinished = (pod: KubeObject): boolean =>
  pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

export function podIps(pod: KubeObject): string[] {
  const listed: { ip: string }[] = pod.status?.podIPs ?? (pod.status?.podIP ? [{ ip: pod.status.podIP }] : []);
  return listed.map(({ ip }) => ip);
}

function sliceIps(slice: KubeObject): string[] {
  return (slice.endpoints ?? []).flatMap((endpoint: { addresses?: string[] }) => endpoint.addresses ?? []);
}

/** Whether a pod has a proxy. */
export function isMeshed(pod: KubeObject): boolean {
  if (pod.metadata.labels?.[meshedLabel] !== 'enabled') return false;
  const containers: { name: string }[] = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  return containers.some(({ name }) => name === proxyContainer);
}

export function identityOf(pod: KubeObject, trustDomain: string): SpiffeId {
  const serviceAccount: string = pod.spec?.serviceAccountName || 'default';
  return formatSpiffeId({ trustDomain, namespace: pod.metadata.namespace ?? 'default', serviceAccount });
}

/** What a pod counts for: the workload injection wrote down, else the one its owners lead to, else itself. */
export function workloadOf(pod: KubeObject): Workload {
  const namespace = pod.metadata.namespace ?? 'default';
  const [kind, name] = (pod.metadata.annotations?.[workloadAnnotation] ?? '').split('/');
  if (kind && name) return { namespace, kind, name };
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller) ?? pod.metadata.ownerReferences?.[0];
  if (!owner) return { namespace, kind: 'pod', name: pod.metadata.name ?? pod.metadata.generateName ?? '' };
  const hash = pod.metadata.labels?.['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash && owner.name.endsWith(`-${hash}`))
    return { namespace, kind: 'deployment', name: owner.name.slice(0, -hash.length - 1) };
  // A CronJob names its Jobs after the minute they were due, since 1970.
  const due = owner.kind === 'Job' ? /^(.+)-\d{8}$/.exec(owner.name) : null;
  if (due) return { namespace, kind: 'cronjob', name: due[1]! };
  return { namespace, kind: owner.kind.toLowerCase(), name: owner.name };
}
