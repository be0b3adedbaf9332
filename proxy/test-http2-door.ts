/** For tests: the HTTP/2 door of a proxy, from a client's connection to a server of the test's. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { ProxyError } from './error.ts';
import type { HttpObserver } from './http/exchange.ts';
import { Http2Connection } from './http/http2-connection.ts';
import { SessionPool } from './http2/session-pool.ts';
import { TimerWheel } from './net/timer-wheel.ts';

export interface Door {
  port: number;
  timers: TimerWheel;
  /** The connections that it has taken. */
  connections: Http2Connection[];
  /** Codes of requests that it refused. */
  refused: string[];
  close(): void;
}

const deaf: HttpObserver = { requestBegin() {}, attemptEnd() {}, requestEnd() {} };

/** `serverPort`: where requests go. */
export async function openDoor(serverPort: number, observer = deaf): Promise<Door> {
  const timers = new TimerWheel();
  const connections: Http2Connection[] = [];
  const refused: string[] = [];
  const pool = new SessionPool({
    name: `127.0.0.1:${serverPort}`,
    dial: (callback) => {
      const socket = connect({ port: serverPort, host: '127.0.0.1', noDelay: true });
      socket.once('connect', () => callback(undefined, socket));
      socket.once('error', (cause) =>
        callback(new ProxyError('connect-failed', cause.message, { source: 'server', retry: 'yes' }), undefined),
      );
    },
    generation: () => 0,
    now: () => timers.now,
  });
  const door = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    connections.push(
      new Http2Connection(socket, undefined, {
        target: { acquireSession: (_, user) => pool.acquire(user) },
        observer,
        timers,
        errorHeader: true,
        toProxy: false,
        onClose: () => {},
        onRefused: (code) => void refused.push(code),
      }),
    );
  });
  await once(door.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (door.address() as AddressInfo).port,
    timers,
    connections,
    refused,
    close() {
      for (const connection of connections) connection.destroy();
      pool.close();
      door.close();
      timers.stop();
    },
  };
}
