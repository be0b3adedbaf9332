/** What the control plane knows of the cluster: live copies of the objects it needs, indexed by address. */
import type { Informer, KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Workload } from '../../protocol/discovery.ts';
import { meshedLabel, proxyContainer, workloadAnnotation } from '../../protocol/names.ts';
import { keptNamespace, keptPod, keptService, keptSlice } from './kept.ts';

const serviceLabel = 'kubernetes.io/service-name';

export class Cluster {
  readonly services: Informer;
  readonly slices: Informer;
  readonly pods: Informer;
  readonly namespaces: Informer;
  readonly #podsByIp = new ByIp();
  readonly #servicesByIp = new ByIp();
  readonly #servicesByNamespace = new Map<string, Map<string, KubeObject>>();
  readonly #slicesByService = new Map<string, Map<string, KubeObject>>();
  /** Services that have an address among their endpoints, each with how many of its slices say so. */
  readonly #servicesByEndpoint = new Map<string, Map<string, number>>();
  readonly #listeners: ((changed: Changed) => void)[] = [];

  constructor(kube: KubeClient) {
    this.services = kube.informer(resources.services, { keep: keptService });
    this.slices = kube.informer(resources.endpointSlices, { keep: keptSlice });
    this.pods = kube.informer(resources.pods, { keep: keptPod });
    this.namespaces = kube.informer(resources.namespaces, { keep: keptNamespace });
    this.pods.on(({ type, object }) => this.#onPod(type, object));
    this.services.on(({ type, object }) => this.#onService(type, object));
    this.slices.on(({ type, object }) => this.#onSlice(type, object));
  }

  async synced(): Promise<void> {
    await Promise.all([this.services.synced, this.slices.synced, this.pods.synced, this.namespaces.synced]);
  }

  /** Called with what a change may concern: addresses, or a service. */
  onChange(listener: (changed: Changed) => void): void {
    this.#listeners.push(listener);
  }

  podAt(ip: string): KubeObject | undefined {
    return this.#podsByIp.get(ip);
  }

  serviceAt(ip: string): KubeObject | undefined {
    return this.#servicesByIp.get(ip);
  }

  servicesIn(namespace: string): Iterable<KubeObject> {
    return this.#servicesByNamespace.get(namespace)?.values() ?? [];
  }

  /** Services, as `namespace/name`, that have the address among their endpoints. */
  servicesBehind(ip: string): Iterable<string> {
    return this.#servicesByEndpoint.get(ip)?.keys() ?? [];
  }

  slicesOf(namespace: string, service: string): KubeObject[] {
    return [...(this.#slicesByService.get(`${namespace}/${service}`)?.values() ?? [])];
  }

  #tell(changed: Changed): void {
    for (const listener of this.#listeners) listener(changed);
  }

  #onPod(type: string, pod: KubeObject): void {
    const { podIP, podIPs, phase } = pod.status ?? {};
    const over = type === 'DELETED' || phase === 'Succeeded' || phase === 'Failed' || pod.spec.hostNetwork;
    const ips: string[] = podIPs?.map((one: { ip: string }) => one.ip) ?? (podIP ? [podIP] : []);
    for (const ip of this.#podsByIp.put(pod, over ? [] : ips)) this.#tell({ ip });
  }

  #onService(type: string, service: KubeObject): void {
    const { namespace, name } = service.metadata as { namespace: string; name: string };
    const services = this.#servicesByNamespace.get(namespace) ?? new Map<string, KubeObject>();
    if (type === 'DELETED') services.delete(name);
    else services.set(name, service);
    if (services.size === 0) this.#servicesByNamespace.delete(namespace);
    else this.#servicesByNamespace.set(namespace, services);
    const ips: string[] = (service.spec.clusterIPs ?? [service.spec.clusterIP]).filter(
      (ip: string | undefined) => ip && ip !== 'None',
    );
    for (const ip of this.#servicesByIp.put(service, type === 'DELETED' ? [] : ips)) this.#tell({ ip });
    this.#tell({ service: `${namespace}/${name}`, defined: true });
  }

  #onSlice(type: string, slice: KubeObject): void {
    const name = slice.metadata.labels?.[serviceLabel];
    if (!name) return;
    const key = `${slice.metadata.namespace}/${name}`;
    const slices = this.#slicesByService.get(key) ?? new Map<string, KubeObject>();
    this.#countEndpoints(key, slices.get(slice.metadata.name!), -1);
    if (type !== 'DELETED') this.#countEndpoints(key, slice, 1);
    if (type === 'DELETED') slices.delete(slice.metadata.name!);
    else slices.set(slice.metadata.name!, slice);
    if (slices.size === 0) this.#slicesByService.delete(key);
    else this.#slicesByService.set(key, slices);
    this.#tell({ service: key });
  }

  #countEndpoints(service: string, slice: KubeObject | undefined, by: 1 | -1): void {
    for (const endpoint of slice?.endpoints ?? [])
      for (const ip of endpoint.addresses as string[]) {
        const services = this.#servicesByEndpoint.get(ip) ?? new Map<string, number>();
        const count = (services.get(service) ?? 0) + by;
        if (count > 0) services.set(service, count);
        else services.delete(service);
        if (services.size > 0) this.#servicesByEndpoint.set(ip, services);
        else this.#servicesByEndpoint.delete(ip);
      }
  }
}

/** Objects by their addresses, each as it was last seen. */
class ByIp {
  readonly #objects = new Map<string, KubeObject>();
  readonly #ips = new Map<string, readonly string[]>();

  get(ip: string): KubeObject | undefined {
    return this.#objects.get(ip);
  }

  /** Gives an object these addresses and no other; answers those that may mean something else now. */
  put(object: KubeObject, ips: readonly string[]): string[] {
    const uid = object.metadata.uid ?? '';
    const before = this.#ips.get(uid) ?? [];
    const gone = before.filter((ip) => !ips.includes(ip));
    // An address may already be another object's.
    for (const ip of gone) if (this.#objects.get(ip)?.metadata.uid === uid) this.#objects.delete(ip);
    for (const ip of ips) this.#objects.set(ip, object);
    if (ips.length > 0) this.#ips.set(uid, ips);
    else this.#ips.delete(uid);
    return [...gone, ...ips];
  }
}

export interface Changed {
  ip?: string;
  service?: string;
  /** The service itself changed (its ports, selector or annotations), not only its endpoints. */
  defined?: boolean;
}

/** Whether a pod has a proxy: the label says so and the container is there. */
export function isMeshed(pod: KubeObject): boolean {
  const containers = [...(pod.spec.initContainers ?? []), ...(pod.spec.containers ?? [])] as { name: string }[];
  return (
    pod.metadata.labels?.[meshedLabel] === 'enabled' &&
    containers.some((container) => container.name === proxyContainer)
  );
}

/** The workload a pod counts for: what injection wrote, else its owner's owner as far as names tell. */
export function workloadOf(pod: KubeObject): Workload {
  const namespace = pod.metadata.namespace!;
  const written = pod.metadata.annotations?.[workloadAnnotation]?.split('/');
  if (written?.length === 2 && written[0] && written[1]) return { namespace, kind: written[0], name: written[1] };
  const owner = pod.metadata.ownerReferences?.find((one) => one.controller);
  if (!owner) return { namespace, kind: 'pod', name: pod.metadata.name! };
  const hash = pod.metadata.labels?.['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash && owner.name.endsWith(`-${hash}`))
    return { namespace, kind: 'deployment', name: owner.name.slice(0, -hash.length - 1) };
  return { namespace, kind: owner.kind.toLowerCase(), name: owner.name };
}
