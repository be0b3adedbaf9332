/** Service addresses: one nft table in the node's namespace, replaced as a whole whenever Services or their endpoints change. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { dnsAddress, egressPort, nodeAddress, podCidr, serviceCidr } from './addresses.ts';

interface SlicePort {
  name?: string;
  port?: number;
  protocol?: string;
}

export interface ServicePort {
  protocol: 'tcp' | 'udp';
  /** Every address it answers on: cluster IPs, external IPs. */
  addresses: string[];
  port: number;
  nodePort?: number;
  endpoints: { address: string; port: number }[];
  /** sessionAffinity: ClientIP. */
  sticky?: boolean;
}

/** Slots that clients are spread over where they are to stay with their endpoint. */
const affinitySlots = 64;

/** Joins Services with their ready endpoints. */
export function servicePorts(services: KubeObject[], slices: KubeObject[]): ServicePort[] {
  const byService = new Map<string, KubeObject[]>();
  for (const slice of slices) {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.['kubernetes.io/service-name']}`;
    byService.set(key, [...(byService.get(key) ?? []), slice]);
  }
  return services.flatMap((service) => {
    const own = byService.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? [];
    const clusterIps: string[] = service.spec.clusterIPs ?? [service.spec.clusterIP];
    const addresses = [...clusterIps, ...(service.spec.externalIPs ?? [])].filter((one) => /^[\d.]+$/.test(one ?? ''));
    return (service.spec.ports ?? []).flatMap((port: KubeObject): ServicePort[] => {
      const protocol = (port.protocol ?? 'TCP').toLowerCase();
      if (protocol !== 'tcp' && protocol !== 'udp') return [];
      const all = own.flatMap((slice) => {
        const target = (slice.ports ?? []).find((one: SlicePort) => (one.name ?? '') === (port.name ?? ''));
        if (!target?.port) return [];
        return (slice.endpoints ?? []).map(({ addresses: [address], conditions = {} }: KubeObject) => ({
          conditions,
          target: { address, port: target.port },
        }));
      });
      const ready = all.filter(({ conditions }) => conditions.ready !== false);
      // As kube-proxy does: while none is ready, those that end but still serve are better than nothing.
      const chosen =
        ready.length > 0 ? ready : all.filter(({ conditions }) => conditions.serving && conditions.terminating);
      const endpoints = chosen.map(({ target }) => target);
      const sticky = service.spec.sessionAffinity === 'ClientIP' ? { sticky: true } : {};
      const nodePort = port.nodePort ? { nodePort: port.nodePort } : {};
      return [{ protocol, addresses, port: port.port, endpoints, ...nodePort, ...sticky }];
    });
  });
}

type Target = ServicePort['endpoints'][number];

const byChance = (endpoints: Target[]): { choice: string; targets: Target[] } => ({
  choice: `numgen random mod ${endpoints.length}`,
  targets: endpoints,
});

/**
 * Each client address falls into one of some slots, and each slot goes to the endpoint that ranks highest in it: a
 * client stays where it is until its endpoint goes, also over a new table, which forgets every dynamic set.
 */
function byClient(endpoints: Target[]): { choice: string; targets: Target[] } {
  const rank = (slot: number, { address, port }: Target): string =>
    createHash('sha256').update(`${slot} ${address}:${port}`).digest('hex');
  const targets = Array.from({ length: affinitySlots }, (_, slot) =>
    endpoints.reduce((best, one) => (rank(slot, one) > rank(slot, best) ? one : best)),
  );
  return { choice: `jhash ip saddr mod ${affinitySlots} seed 0x6d657368`, targets };
}

/** The whole table as nft reads it. Equal input gives equal text. */
export function renderTable(ports: ServicePort[], podAddresses: string[]): string {
  const chains: string[] = [];
  const elements: string[] = [];
  ports.forEach((port, index) => {
    if (port.endpoints.length === 0) return;
    const { choice, targets } = port.sticky ? byClient(port.endpoints) : byChance(port.endpoints);
    const map = targets.map(({ address, port: number }, at) => `${at} : ${address} . ${number}`).join(', ');
    chains.push(`  chain service_${index} {
    meta l4proto ${port.protocol} dnat ip to ${choice} map { ${map} }
  }`);
    for (const address of port.addresses)
      elements.push(`${address} . ${port.protocol} . ${port.port} : goto service_${index}`);
    if (port.nodePort) elements.push(`${nodeAddress} . ${port.protocol} . ${port.nodePort} : goto service_${index}`);
  });
  const set = (entries: string[]): string => (entries.length > 0 ? `elements = { ${entries.join(', ')} }` : '');
  const pods = podAddresses.map((address) => `${address} . ${address}`);
  // Dropping and defining the table in one transaction: no packet meets half of it.
  return `table ip mesh_services
delete table ip mesh_services
table ip mesh_services {
  map services {
    type ipv4_addr . inet_proto . inet_service : verdict
    ${set(elements)}
  }
  set same_pod {
    type ipv4_addr . ipv4_addr
    ${set(pods)}
  }
${chains.join('\n')}
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr . meta l4proto . th dport vmap @services
    meta l4proto tcp ip daddr != { ${podCidr}, ${serviceCidr}, 127.0.0.0/8 } dnat to ${nodeAddress}:${egressPort}
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr . meta l4proto . th dport vmap @services
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr . ip daddr @same_pod snat to ${nodeAddress}
  }
  chain unanswered {
    fib daddr type local return
    ip daddr ${serviceCidr} meta l4proto tcp reject with tcp reset
    ip daddr ${serviceCidr} reject
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump unanswered
  }
  chain local {
    type filter hook output priority filter; policy accept;
    ip daddr != ${dnsAddress} jump unanswered
  }
}
`;
}

function applyRules(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const nft = spawn('nft', ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
    let complaint = '';
    nft.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    nft.once('error', reject);
    nft.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`nft: ${complaint.trim()}`))));
    nft.stdin.end(text);
  });
}

/** Keeps the table in step with the objects; `settled` resolves after the first write. */
export function keepServices(
  objects: Objects,
  log: (message: string) => void,
): { settled: Promise<void>; stop: () => void } {
  let timer: NodeJS.Timeout | undefined;
  let written = '';
  let busy = false;
  const first = Promise.withResolvers<void>();
  const write = async (): Promise<void> => {
    timer = undefined;
    if (busy) return wake();
    busy = true;
    try {
      const pods = objects
        .list(resources.pods)
        .flatMap((pod) => (pod.status?.podIP ? [pod.status.podIP as string] : []));
      const ports = servicePorts(objects.list(resources.services), objects.list(resources.endpointSlices));
      const text = renderTable(ports, [...new Set(pods)].sort());
      if (text !== written) await applyRules(text);
      written = text;
      first.resolve();
    } catch (error) {
      log(`service addresses were not written: ${(error as Error).message}`);
      setTimeout(wake, 1_000).unref();
    } finally {
      busy = false;
    }
  };
  const wake = (): void => {
    timer ??= setTimeout(write, 20);
  };
  const stops = [resources.services, resources.endpointSlices, resources.pods].map((type) => objects.watch(type, wake));
  wake();
  return {
    settled: first.promise,
    stop: () => {
      clearTimeout(timer);
      for (const stop of stops) stop();
    },
  };
}
