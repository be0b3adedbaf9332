/** Sockets of the test's own process inside a pod's network: a test can be a pod's client, and its application, itself. */
import { Peer } from '../../proxy/test-peer.ts';
import type { PodObject, PodSocket, TestMesh } from './mesh.ts';

export type PodPeer = Peer<PodSocket>;

/** Dials an IPv4 address from inside a pod; half-open allowed. */
export function dialFrom(mesh: TestMesh, pod: PodObject, address: string, port: number): PodPeer {
  return new Peer(mesh.dial(pod, address, port));
}
