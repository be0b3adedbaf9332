/** For tests: HTTP/2 servers behind one service of a mesh on loopback, and a client of it. */
import type {
  ClientHttp2Session,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
  ServerOptions,
} from 'node:http2';
import type net from 'node:net';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import { ask, dialHttp2, http2Server } from './test-http2.ts';
import { ips, mesh, meshed, publish, startApps, startMesh, stopMesh, unmeshed } from './test-mesh.ts';

export const within = { timeout: 8_000 };
export const cleanup: (() => void)[] = [];
let services = 10;

/** A mesh for the tests of a file. */
export function useMesh(): void {
  beforeAll(() => startMesh());
  afterEach(() => {
    for (const one of cleanup.splice(0)) one();
  });
  afterAll(stopMesh);
}

export interface Setup {
  session: ClientHttp2Session;
  /** Sessions that each address has had open now. */
  sessions: Map<string, Set<ServerHttp2Session>>;
  close(ip: string): void;
}

/** Servers on all addresses, behind one service, and a client of it. */
export async function serve(
  onStream: (ip: string, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  { plain = false, count = ips.length, options = {} as ServerOptions } = {},
): Promise<Setup> {
  const sessions = new Map<string, Set<ServerHttp2Session>>();
  const made = new Map<string, net.Server>();
  const { port, servers } = await startApps((ip) => {
    const one = http2Server((stream, headers) => onStream(ip, stream, headers), options);
    sessions.set(ip, one.sessions);
    made.set(ip, one.server);
    return one.server;
  });
  mesh.destination = formatAddress(`10.96.1.${services++}`, 80);
  const endpoint = plain ? unmeshed : meshed;
  publish(
    mesh.destination,
    ips.slice(0, count).map((ip) => endpoint(ip, port)),
  );
  const session = await dialHttp2(mesh.client.ports.outbound);
  cleanup.push(() => {
    session.destroy();
    for (const one of servers) one.close();
    for (const one of sessions.values()) for (const peer of one) peer.destroy();
  });
  const close = (ip: string) => {
    made.get(ip)!.close();
    for (const peer of sessions.get(ip)!) peer.destroy();
  };
  return { session, sessions, close };
}

/** Sessions of the first address, once there is one. */
export async function served({ session, sessions }: Setup): Promise<ServerHttp2Session[]> {
  await ask(session);
  return [...sessions.get(ips[0]!)!];
}

export const respond = (stream: ServerHttp2Stream, body: string | Buffer, headers = {}) => {
  stream.respond({ ':status': 200, ...headers });
  stream.end(body);
};
