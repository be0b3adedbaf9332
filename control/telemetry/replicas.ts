/** Where the other replicas of the control plane are. */
import { controlName } from '../../protocol/names.ts';
import type { Cluster } from '../cluster/index.ts';

export interface Replica {
  pod: string;
  address: string;
}

/** Asked for at each report: a live copy of the pods answers. `self` is this pod's name, which is its host name. */
export function otherReplicas(cluster: Cluster, namespace: string, self: string): () => Replica[] {
  const addresses = new Map<string, string>();
  cluster.pods.on(({ type, object }) => {
    const { name, namespace: where, labels } = object.metadata;
    if (where !== namespace || name === self || labels?.['app.kubernetes.io/name'] !== controlName) return;
    const runs = type !== 'DELETED' && object.status?.phase === 'Running' && object.status.podIP;
    if (runs) addresses.set(name!, object.status.podIP);
    else addresses.delete(name!);
  });
  return () => [...addresses].map(([pod, address]) => ({ pod, address }));
}
