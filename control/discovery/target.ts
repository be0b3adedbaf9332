/** From an address that an application dials to what is there: a service's endpoints, a pod, or nothing we know. */
import type { Json, KubeObject } from '../../kube/types.ts';
import {
  type Address,
  type Endpoint,
  formatAddress,
  type Protocol,
  parseAddress,
  type Target,
} from '../../protocol/discovery.ts';
import { formatSpiffeId } from '../../protocol/identity.ts';
import { configPrefix, proxyContainer } from '../../protocol/names.ts';
import { readTrafficPolicy } from '../../protocol/traffic-policy.ts';
import { type Cluster, isMeshed, workloadOf } from '../cluster/index.ts';

/** A target without its version, and the service it depends on. */
export interface Found {
  target: Omit<Target, 'version'>;
  service: string | undefined;
}

/** Whether a port is in a list such as `5432,9000-9010`. */
function portListed(list: string | undefined, port: number): boolean {
  return (list ?? '').split(',').some((part) => {
    const [from, to = from] = part.trim().split('-').map(Number) as [number, number?];
    return port >= from && port <= (to ?? from);
  });
}

/** Protocol by a port's appProtocol; what is not known is not looked into. */
function declared(appProtocol: string | undefined): Protocol {
  switch (appProtocol) {
    case undefined:
    case '':
      return 'detect';
    case 'http':
      return 'http1';
    case 'kubernetes.io/h2c':
    case 'grpc':
    case 'http2':
      return 'http2';
    case 'kubernetes.io/ws':
      return 'http1';
    default:
      return 'opaque';
  }
}

/** By annotation, or for a pod by what injection gave its proxy: the annotation may stand on its namespace. */
function opaquePorts(object: KubeObject | undefined): string | undefined {
  const proxy = object?.spec.initContainers?.find((one: Json) => one.name === proxyContainer);
  const given = proxy?.env?.find((one: Json) => one.name === 'MESH_PROXY_OPAQUE_PORTS')?.value;
  return object?.metadata.annotations?.[`${configPrefix}opaque-ports`] ?? given;
}

/** Ports of a pod that its containers list or services lead to: a container need not list any. In order. */
export function knownPorts(cluster: Cluster, pod: KubeObject): number[] {
  const listed = pod.spec.containers.flatMap((one: Json) => one.ports ?? []).map((one: Json) => one.containerPort);
  const services = [...cluster.servicesIn(pod.metadata.namespace!)];
  const led = services
    .filter((service) => selects(service, pod))
    .flatMap((service) => (service.spec.ports ?? []).map((one: Json) => targetPort(one, pod)));
  const numbers = [...listed, ...led].filter((port): port is number => port !== undefined);
  return [...new Set(numbers)].sort((a, b) => a - b);
}

/** What a pod's own port speaks, by its annotation and by the services that name it. */
export function podPortProtocol(cluster: Cluster, pod: KubeObject, port: number): Protocol {
  if (portListed(opaquePorts(pod), port)) return 'opaque';
  for (const service of cluster.servicesIn(pod.metadata.namespace!)) {
    if (!selects(service, pod)) continue;
    for (const one of service.spec.ports ?? []) {
      if (targetPort(one, pod) !== port) continue;
      if (portListed(opaquePorts(service), one.port)) return 'opaque';
      const protocol = declared(one.appProtocol);
      if (protocol !== 'detect') return protocol;
    }
  }
  return 'detect';
}

function selects(service: KubeObject, pod: KubeObject): boolean {
  const selector: Record<string, string> = service.spec.selector ?? {};
  const labels = pod.metadata.labels ?? {};
  let any = false;
  for (const key in selector) {
    if (labels[key] !== selector[key]) return false;
    any = true;
  }
  return any;
}

function targetPort(port: Json, pod: KubeObject): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target;
  const containers: Json[] = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])];
  return containers.flatMap((one) => one.ports ?? []).find((one: Json) => one.name === target)?.containerPort;
}

/**
 * How an endpoint may be used: `leaving` ends and still serves, `doubted` is not ready by its node's silence alone, `gone`
 * is one whose pod is not there: force-deleted, and its slice does not know it yet. It would be dialled in plain text.
 */
type Standing = 'ready' | 'leaving' | 'doubted' | 'gone';

function standingOf(conditions: Json, pod: KubeObject | undefined): Standing | undefined {
  if (conditions?.ready !== false) return 'ready';
  if (conditions.terminating) return conditions.serving ? 'leaving' : undefined;
  return isDoubted(pod) ? 'doubted' : undefined;
}

/**
 * The node controller denies `Ready` of all pods of a silent node, and the kubelet's last word on their containers,
 * `ContainersReady`, stays as it was. After an outage of the API server this befalls every pod of the cluster.
 */
function isDoubted(pod: KubeObject | undefined): boolean {
  const conditions: Json[] = pod?.status?.conditions ?? [];
  const gates: Json[] = pod?.spec.readinessGates ?? [];
  const holds = (type: string): boolean => conditions.some((one) => one.type === type && one.status === 'True');
  return holds('ContainersReady') && gates.every((gate) => holds(gate.conditionType));
}

/**
 * Where most of a service is doubted at once, the node controller errs rather than the pods, and the proxies find out by
 * themselves which are gone. Pods that end but still serve are better than none (as kube-proxy does it).
 */
function chosen({ ready, leaving, doubted, gone }: Record<Standing, Endpoint[]>): Endpoint[] {
  if (doubted.length > ready.length) return [...ready, ...doubted];
  return [ready, leaving, gone].find((endpoints) => endpoints.length > 0) ?? [];
}

export function findTarget(cluster: Cluster, address: Address, trustDomain: string): Found {
  const { ip, port } = parseAddress(address) ?? { ip: '', port: 0 };
  const service = cluster.serviceAt(ip);
  const servicePort = service?.spec.ports?.find((one: Json) => one.port === port && (one.protocol ?? 'TCP') === 'TCP');
  if (service && servicePort) {
    const { namespace, name } = service.metadata as { namespace: string; name: string };
    const found: Record<Standing, Endpoint[]> = { ready: [], leaving: [], doubted: [], gone: [] };
    let opaque = portListed(opaquePorts(service), port);
    for (const slice of cluster.slicesOf(namespace, name)) {
      const number = slice.ports?.find((one: Json) => (one.name ?? '') === (servicePort.name ?? ''))?.port;
      if (!number || slice.addressType === 'FQDN') continue;
      for (const one of slice.endpoints ?? []) {
        for (const endpointIp of one.addresses as string[]) {
          const pod = cluster.podAt(endpointIp);
          const published = service.spec.publishNotReadyAddresses === true;
          const standing = published ? 'ready' : standingOf(one.conditions, pod);
          if (!standing) continue;
          if (portListed(opaquePorts(pod), number)) opaque = true;
          const isGone = one.pod !== undefined && !cluster.pods.get(namespace, one.pod);
          found[isGone ? 'gone' : standing].push(endpointAt(formatAddress(endpointIp, number), pod, trustDomain));
        }
      }
    }
    const endpoints = chosen(found);
    const unique = [...new Map(endpoints.map((endpoint) => [endpoint.address, endpoint])).values()].sort((a, b) =>
      a.address < b.address ? -1 : 1,
    );
    // What is wrong with it is told on the service itself (control/policy/annotations.ts).
    const { policy } = readTrafficPolicy(service.metadata.annotations);
    return {
      service: `${namespace}/${name}`,
      target: {
        address,
        kind: 'service',
        protocol: opaque ? 'opaque' : declared(servicePort.appProtocol),
        service: { namespace, name, port },
        endpoints: unique,
        ...(policy ? { policy } : {}),
      },
    };
  }
  const pod = cluster.podAt(ip);
  if (pod)
    return {
      service: undefined,
      target: {
        address,
        kind: 'pod',
        protocol: podPortProtocol(cluster, pod, port),
        endpoints: [endpointAt(address, pod, trustDomain)],
      },
    };
  return { service: undefined, target: { address, kind: 'unknown', protocol: 'detect', endpoints: [] } };
}

function endpointAt(address: Address, pod: KubeObject | undefined, trustDomain: string): Endpoint {
  if (!pod) return { address };
  const { namespace, name } = pod.metadata as { namespace: string; name: string };
  const endpoint: Endpoint = { address, pod: name, workload: workloadOf(pod) };
  if (isMeshed(pod))
    endpoint.identity = formatSpiffeId({
      trustDomain,
      namespace,
      serviceAccount: pod.spec.serviceAccountName ?? 'default',
    });
  return endpoint;
}
