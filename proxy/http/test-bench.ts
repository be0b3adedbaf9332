/** The HTTP/1 engine between a client and an application that a test plays itself, over real sockets. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach } from 'vitest';
import type { Address, Endpoint } from '../../protocol/discovery.ts';
import type { CarrierCallback } from '../carrier.ts';
import type { ProxyError } from '../error.ts';
import { TimerWheel } from '../net/timer-wheel.ts';
import { turnBytes } from '../net/write-together.ts';
import { Peer } from '../test-peer.ts';
import { PoolingConnector } from '../tunnel/connector.ts';
import type { Exchange } from './exchange.ts';
import { Http1Connection } from './http1-connection.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

export async function listen(server: Server): Promise<Address> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}); // resets are part of the tests
  });
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}` as Address;
}

export interface Bench {
  /** Where the engine listens, for more clients than this one. */
  port: number;
  client: Peer;
  /** Connections of the application, in order. */
  servers: Peer[];
  /** `ok` or the error's code, for each attemptEnd; status and error of each requestEnd. */
  attempts: string[];
  requests: [number, string | undefined][];
  refused: string[];
  /** Acquired less ended, as a balancer would count it. */
  pending(): number;
}

/** A client connected to the engine, which takes its endpoints in turn. */
export async function bench(
  options: { before?: Address[]; serverAlone?: boolean; onServer?: (peer: Peer) => void } = {},
): Promise<Bench> {
  const servers: Peer[] = [];
  const application = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      const peer = new Peer(socket);
      servers.push(peer);
      options.onServer?.(peer);
    }),
  );
  const timers = new TimerWheel();
  const connector = new PoolingConnector({ hbone: undefined, timers, connectTimeoutMs: 2000 });
  const attempts: string[] = [];
  const requests: [number, string | undefined][] = [];
  const refused: string[] = [];
  const endpoints: Endpoint[] = [...(options.before ?? []), application].map((address) => ({ address }));
  let pending = 0;
  const target = {
    acquire(exchange: Exchange, callback: CarrierCallback): void {
      const endpoint = endpoints[Math.min(exchange.attempts, endpoints.length) - 1]!;
      exchange.endpoint = endpoint;
      exchange.state = endpoint;
      pending++;
      connector.connect(endpoint, false, callback);
    },
  };
  const settle = (exchange: Exchange): void => {
    if (exchange.state) pending--;
    exchange.state = undefined;
  };
  const observer = {
    requestBegin() {},
    attemptEnd(exchange: Exchange, error: ProxyError | undefined): void {
      attempts.push(error?.code ?? 'ok');
      if (error) settle(exchange);
    },
    requestEnd(exchange: Exchange): void {
      requests.push([exchange.status, exchange.error?.code]);
      settle(exchange);
    },
  };
  const address = await listen(
    createServer({ allowHalfOpen: true, highWaterMark: turnBytes }, (socket) => {
      new Http1Connection(socket, undefined, {
        target,
        observer,
        timers,
        errorHeader: true,
        serverAlone: options.serverAlone === true,
        onClose: () => {},
        onRefused: (code) => refused.push(code),
      });
    }),
  );
  const port = Number(address.split(':')[1]);
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  await once(socket, 'connect');
  ends.push(() => {
    socket.destroy();
    connector.close();
    timers.stop();
  });
  return { port, client: new Peer(socket), servers, attempts, requests, refused, pending: () => pending };
}

export const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
export const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** Answers each GET with its path. */
export function echoPaths(peer: Peer): void {
  let seen = 0;
  peer.socket.on('data', () => {
    const paths = [...peer.text.matchAll(/^GET (\S+) /gm)].slice(seen);
    seen += paths.length;
    for (const [, path] of paths) peer.write(ok(path!));
  });
}
