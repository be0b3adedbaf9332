/** What a pod's proxy is told about its inbound ports: those whose protocol is declared, and what probes come to them. */
import type { InboundPolicy, Protocol } from '../../protocol/discovery.ts';
import type { Cluster } from '../cluster/index.ts';
import { knownPorts, podPortProtocol } from '../discovery/target.ts';
import { podProbes } from './probes.ts';

export function podPolicy(cluster: Cluster, namespace: string, name: string): InboundPolicy {
  const pod = cluster.pods.get(namespace, name);
  const ports: Record<string, Protocol> = {};
  for (const port of pod ? knownPorts(cluster, pod) : []) {
    const protocol = podPortProtocol(cluster, pod!, port);
    if (protocol !== 'detect') ports[String(port)] = protocol;
  }
  const probes = pod ? podProbes(pod) : [];
  return probes.length > 0 ? { ports, probes } : { ports };
}
