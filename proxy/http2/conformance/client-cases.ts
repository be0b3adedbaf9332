/** A server that says any bytes to the proxy, which is its client, and what both ends hear: one exchange per case. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { HttpObserver } from '../../http/exchange.ts';
import { type Door, openDoor } from '../../test-http2-door.ts';
import { until } from '../../test-peer.ts';
import { END_HEADERS, HEADERS, headers, post, preface, settings } from './raw-frames.ts';
import { RawPeer } from './raw-peer.ts';

export interface Exchange {
  door: Door;
  client: RawPeer;
  /** The server's end of each connection that the proxy has made. */
  servers: RawPeer[];
  /** Waits for the connection's request on a stream. */
  asked(connection: number, stream: number): Promise<RawPeer>;
}

const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

/**
 * `first`: what the server says as soon as there is a connection; its SETTINGS where nothing else is said. `observer`: of
 * the proxy's requests.
 */
export async function begin(first: Uint8Array = settings(), observer?: HttpObserver): Promise<Exchange> {
  const servers: RawPeer[] = [];
  const server = createServer((socket) => {
    const peer = new RawPeer(socket, preface.length);
    servers.push(peer);
    peer.send(first);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const door = await openDoor((server.address() as AddressInfo).port, observer);
  const socket = connect(door.port, '127.0.0.1');
  const client = new RawPeer(socket);
  cleanup.push(() => {
    for (const one of [client, ...servers]) one.socket.destroy();
    door.close();
    server.close();
  });
  await once(socket, 'connect');
  client.send(preface, settings());
  const asked = async (connection: number, stream: number) => {
    await until(() => (servers[connection]?.of(HEADERS, stream).length ?? 0) > 0, `stream ${stream} of ${connection}`);
    return servers[connection]!;
  };
  return { door, client, servers, asked };
}

export interface ClientCase {
  /** Of RFC 9113. */
  section: string;
  must: string;
  /** What the server says first, in place of its SETTINGS. */
  first?: Uint8Array;
  /** What it says to the request of stream 1. */
  send: Uint8Array[];
  /** What it hears: a connection error, or a stream error on stream 1. */
  server: { goaway: number } | { reset: number };
  /** What the client hears: a status, or a reset where the response had begun. */
  client: { status: number } | { reset: number };
  /** The request has no end yet. */
  open?: boolean;
}

export function checkClient(cases: ClientCase[]): void {
  test.each(cases.map((one) => [`${one.section}: ${one.must}`, one] as const))('%s', async (_, one) => {
    const { client, servers, asked } = await begin(one.first);
    // POST: no error but one that says so is tried again.
    client.send(headers(1, post, one.open ? END_HEADERS : undefined));
    if (!one.first) (await asked(0, 1)).send(...one.send);
    await until(() => servers.length > 0, 'a connection');
    if ('goaway' in one.server) await servers[0]!.endsWith(one.server.goaway);
    else await servers[0]!.resets(1, one.server.reset);
    if ('status' in one.client) await client.answers(1, one.client.status);
    else await client.resets(1, one.client.reset);
    await client.fence();
    expect(client.goaway).toBeUndefined();
  });
}
