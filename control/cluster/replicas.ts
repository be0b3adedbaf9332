/** Whether proxies and API servers have another replica of the control plane to go to. */
import { networkInterfaces } from 'node:os';
import { controlName } from '../../protocol/names.ts';
import type { Cluster } from './index.ts';

/** By the endpoints of the control plane's own Service that are not leaving. */
export function hasOtherReplicas(cluster: Cluster, namespace: string, own = ownAddresses()): boolean {
  return cluster
    .slicesOf(namespace, controlName)
    .flatMap((slice) => slice.endpoints ?? [])
    .some(({ addresses, conditions }) => conditions?.ready !== false && !addresses.some((ip: string) => own.has(ip)));
}

function ownAddresses(): ReadonlySet<string> {
  return new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)));
}
