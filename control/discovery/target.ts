/** What an address that an application dials stands for. */
import type { KubeObject } from '../../kube/types.ts';
import {
  type Address,
  type Endpoint,
  formatAddress,
  type InboundPolicy,
  type Protocol,
  parseAddress,
  type Target,
} from '../../protocol/discovery.ts';
import { configPrefix } from '../../protocol/names.ts';
import { type ClusterIndex, type Dependency, identityOf, isMeshed, keyOf, podIps, workloadOf } from './cluster-index.ts';

export type TargetState = Omit<Target, 'version'>;

export interface Computed<T> {
  state: T;
  /** A change of any of these may change the state. */
  dependencies: Dependency[];
}

interface ServicePort {
  name?: string;
  port: number;
  protocol?: string;
  appProtocol?: string;
}

interface SliceEndpoint {
  addresses: string[];
  conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean };
}

const declared: Record<string, Protocol> = {
  http: 'http1',
  'kubernetes.io/h2c': 'http2',
  http2: 'http2',
  h2c: 'http2',
  grpc: 'http2',
  'kubernetes.io/ws': 'http1',
};

/** A declared protocol that is none of HTTP's is carried unread. */
function protocolOf(port: ServicePort): Protocol {
  return port.appProtocol ? (declared[port.appProtocol.toLowerCase()] ?? 'opaque') : 'detect';
}

/** Whether a list such as `3306,6000-6100` has the port. */
export function hasPort(list: string | undefined, port: number): boolean {
  return (list ?? '').split(',').some((part) => {
    const [from, to] = part.trim().split('-').map(Number);
    return from !== undefined && from > 0 && port >= from && port <= (to ?? from);
  });
}

const isOpaque = (object: KubeObject | undefined, port: number): boolean =>
  hasPort(object?.metadata.annotations?.[`${configPrefix}opaque-ports`], port);

const tcpPorts = (service: KubeObject): ServicePort[] =>
  (service.spec?.ports ?? []).filter((port: ServicePort) => (port.protocol ?? 'TCP') === 'TCP');

function makeEndpoint(index: ClusterIndex, ip: string, port: number, trustDomain: string): Endpoint {
  const address = formatAddress(ip, port);
  const pod = index.podAt(ip);
  if (!pod) return { address };
  const endpoint: Endpoint = { address, pod: pod.metadata.name ?? '', workload: workloadOf(pod) };
  return isMeshed(pod) ? { ...endpoint, identity: identityOf(pod, trustDomain) } : endpoint;
}

/** Addresses of a service's port: the ready ones; where none is, those that still serve while they end. */
function addressesOf(index: ClusterIndex, service: KubeObject, port: ServicePort): { ip: string; port: number }[] {
  const ready: { ip: string; port: number }[] = [];
  const ending: { ip: string; port: number }[] = [];
  for (const slice of index.slicesOf(keyOf(service))) {
    const found = (slice.ports ?? []).find((each: ServicePort) => (each.name ?? '') === (port.name ?? ''));
    if (!found?.port) continue;
    for (const { addresses, conditions } of (slice.endpoints ?? []) as SliceEndpoint[]) {
      const list = conditions?.ready !== false ? ready : conditions.serving && conditions.terminating ? ending : null;
      for (const ip of addresses) list?.push({ ip, port: found.port });
    }
  }
  return ready.length > 0 ? ready : ending;
}

/** Which service's port, if just one, has this pod address as its endpoint. */
function servicePortAt(index: ClusterIndex, ip: string, port: number): { service: KubeObject; port: ServicePort }[] {
  return index.servicesWithEndpoint(ip).flatMap((service) =>
    tcpPorts(service).flatMap((each) => {
      for (const slice of index.slicesOf(keyOf(service))) {
        const found = (slice.ports ?? []).find((own: ServicePort) => (own.name ?? '') === (each.name ?? ''));
        if (found?.port === port) return [{ service, port: each }];
      }
      return [];
    }),
  );
}

function protocolAt(index: ClusterIndex, pod: KubeObject, ip: string, port: number): Protocol {
  if (isOpaque(pod, port)) return 'opaque';
  const protocols = new Set<Protocol>();
  for (const at of servicePortAt(index, ip, port))
    protocols.add(isOpaque(at.service, at.port.port) ? 'opaque' : protocolOf(at.port));
  // Services that disagree about one port: look at the bytes.
  return protocols.size === 1 ? [...protocols][0]! : 'detect';
}

/** The state of a target now, and what it hangs on. */
export function computeTarget(index: ClusterIndex, address: Address, trustDomain: string): Computed<TargetState> {
  const parsed = parseAddress(address);
  const unknown: TargetState = { address, kind: 'unknown', protocol: 'detect', endpoints: [] };
  if (!parsed) return { state: unknown, dependencies: [] };
  const dependencies: Dependency[] = [`ip:${parsed.ip}`];
  const service = index.serviceAt(parsed.ip);
  if (service) {
    dependencies.push(`service:${keyOf(service)}`);
    const port = tcpPorts(service).find((each) => each.port === parsed.port);
    if (!port) return { state: unknown, dependencies };
    const addresses = addressesOf(index, service, port);
    const pods = addresses.map(({ ip }) => index.podAt(ip));
    const opaque =
      isOpaque(service, port.port) || (pods.length > 0 && pods.every((pod, i) => isOpaque(pod, addresses[i]!.port)));
    dependencies.push(...addresses.map(({ ip }) => `ip:${ip}` as const));
    return {
      state: {
        address,
        kind: 'service',
        protocol: opaque ? 'opaque' : protocolOf(port),
        service: { namespace: service.metadata.namespace ?? '', name: service.metadata.name ?? '', port: port.port },
        endpoints: addresses
          .map(({ ip, port: number }) => makeEndpoint(index, ip, number, trustDomain))
          .sort((a, b) => (a.address < b.address ? -1 : 1)),
      },
      dependencies,
    };
  }
  const pod = index.podAt(parsed.ip);
  if (!pod) return { state: unknown, dependencies };
  const meant = servicePortAt(index, parsed.ip, parsed.port);
  const only = meant.length === 1 ? meant[0] : undefined;
  return {
    state: {
      address,
      kind: 'pod',
      protocol: protocolAt(index, pod, parsed.ip, parsed.port),
      ...(only && {
        service: {
          namespace: only.service.metadata.namespace ?? '',
          name: only.service.metadata.name ?? '',
          port: only.port.port,
        },
      }),
      endpoints: [makeEndpoint(index, parsed.ip, parsed.port, trustDomain)],
    },
    dependencies,
  };
}

/** The declared protocols of a pod's own ports. */
export function computePolicy(index: ClusterIndex, namespace: string, name: string): Computed<InboundPolicy> {
  const pod = index.pods.get(namespace, name);
  const dependencies: Dependency[] = [`pod:${namespace}/${name}`];
  const policy: InboundPolicy = { ports: {} };
  for (const ip of pod ? podIps(pod) : []) {
    dependencies.push(`ip:${ip}`);
    for (const service of index.servicesWithEndpoint(ip)) {
      for (const slice of index.slicesOf(keyOf(service))) {
        for (const { port } of (slice.ports ?? []) as ServicePort[]) {
          const protocol = protocolAt(index, pod!, ip, port);
          if (protocol !== 'detect') policy.ports[String(port)] = protocol;
        }
      }
    }
  }
  const list = pod?.metadata.annotations?.[`${configPrefix}opaque-ports`] ?? '';
  for (const part of list.split(',')) if (/^\s*\d+\s*$/.test(part)) policy.ports[part.trim()] = 'opaque';
  return { state: policy, dependencies };
}
