/** What a pod's proxy is told about its inbound ports: those whose protocol is declared. */
import type { InboundPolicy, Protocol } from '../../protocol/discovery.ts';
import type { Cluster } from '../cluster/index.ts';
import { podPortProtocol } from '../discovery/target.ts';

export function podPolicy(cluster: Cluster, namespace: string, name: string): InboundPolicy {
  const pod = cluster.pods.get(namespace, name);
  const ports: Record<string, Protocol> = {};
  for (const container of pod?.spec.containers ?? []) {
    for (const { containerPort } of container.ports ?? []) {
      const protocol = podPortProtocol(cluster, pod!, containerPort);
      if (protocol !== 'detect') ports[String(containerPort)] = protocol;
    }
  }
  return { ports };
}
