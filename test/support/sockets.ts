/** Sockets of the test's own process inside a pod's network: a test can be a pod's client, and its application, itself. */
import type { Server, Socket } from 'node:net';
import { connectIn, listenIn } from '../../local/network/socket.ts';
import { Peer } from '../../proxy/test-peer.ts';
import type { PodObject, TestMesh } from './mesh.ts';

const namespaceOf = (mesh: TestMesh, pod: PodObject, container?: string) => `/proc/${mesh.pid(pod, container)}/ns/net`;

/** Dials an IPv4 address from inside a pod; half-open allowed. */
export function dialFrom(mesh: TestMesh, pod: PodObject, address: string, port: number): Peer {
  return new Peer(connectIn(namespaceOf(mesh, pod), address, port));
}

/** Listens as an application of a pod would. */
export function serveIn(
  mesh: TestMesh,
  pod: PodObject,
  port: number,
  accept: (socket: Socket) => void,
  container?: string,
): Promise<Server> {
  return listenIn(namespaceOf(mesh, pod, container), '0.0.0.0', port, accept);
}
