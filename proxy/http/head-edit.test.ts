/** Lines put in and left out on the way, in either engine, and what the record tells of a head. */
import { connect, createServer, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { type Address, parseAddress } from '../../protocol/discovery.ts';
import type { CarrierCallback } from '../carrier.ts';
import { ProxyError } from '../error.ts';
import { SessionPool, type SessionUser } from '../http2/session-pool.ts';
import { TimerWheel } from '../net/timer-wheel.ts';
import { ask, dialHttp2, http2Server } from '../test-http2.ts';
import { Peer } from '../test-peer.ts';
import { PoolingConnector } from '../tunnel/connector.ts';
import { type Exchange, editRequest, editResponse, type HttpObserver } from './exchange.ts';
import { HeadEdit } from './head-edit.ts';
import { Http1Connection } from './http1-connection.ts';
import { Http2Connection } from './http2-connection.ts';
import { listen as listenAt } from './test-bench.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

const listen = async (server: Server): Promise<number> => parseAddress(await listenAt(server))!.port;

/** Puts in the number of the try; leaves out x-secret; marks the response. Every first try fails. */
const observer: HttpObserver = {
  requestBegin() {},
  attemptEnd(exchange, error) {
    if (error) return;
    const { request, response } = exchange;
    const seen = [request.path, request.authority, request.value('x-own'), request.value('x-none')];
    editResponse(exchange).set('x-seen', seen.join('|'));
    editResponse(exchange).set('x-kind', `${response?.value('x-kind')}!`);
    editResponse(exchange).drop('x-inner');
  },
  requestEnd() {},
};
const refused = () => new ProxyError('connect-failed', 'the first try fails', { source: 'server', retry: 'yes' });

function edit(exchange: Exchange): void {
  editRequest(exchange).set('x-try', String(exchange.attempts));
  editRequest(exchange).set('x-try-again', 'never');
  editRequest(exchange).drop('x-try-again');
  editRequest(exchange).drop('x-secret');
}

const options = (timers: TimerWheel) => ({
  observer,
  timers,
  errorHeader: true,
  onClose: () => {},
  onRefused: () => {},
});

async function http1Door(origin: number): Promise<number> {
  const timers = new TimerWheel();
  const connector = new PoolingConnector({ hbone: undefined, timers, connectTimeoutMs: 2000 });
  ends.push(() => {
    connector.close();
    timers.stop();
  });
  const target = {
    acquire(exchange: Exchange, callback: CarrierCallback) {
      edit(exchange);
      if (exchange.attempts === 1) callback(refused(), undefined);
      else connector.connect({ address: `127.0.0.1:${origin}` as Address }, false, callback);
    },
  };
  return listen(
    createServer(
      { allowHalfOpen: true },
      (socket) => new Http1Connection(socket, undefined, { ...options(timers), target }),
    ),
  );
}

const request = (path: string, more: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a:1\r\n${more}Content-Length: 4\r\n\r\n`;

test('HTTP/1: lines go in and out at each try, the body and all else stay as they are', async () => {
  const heads: string[] = [];
  const origin = await listen(
    createServer((socket) => {
      const peer = new Peer(socket);
      socket.on('data', () => {
        if (!peer.text.endsWith('body')) return;
        heads.push(peer.text);
        peer.text = '';
        peer.write('HTTP/1.1 200 OK\r\nX-Kind: good\r\nX-INNER: 1\r\nContent-Length: 2\r\n\r\nok');
      });
    }),
  );
  const socket = connect(await http1Door(origin), '127.0.0.1');
  const client = new Peer(socket);
  ends.push(() => socket.destroy());
  const more = 'X-Own: mine\r\nX-SECRET: a\r\nx-try: 9\r\nx-secret: b\r\nConnection: x-own\r\nX-Secrets: kept\r\n';
  client.write(`${request('/one?a', more)}body`);
  const first = await client.reads('\r\n\r\nok');
  const answer = (seen: string) => `HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-seen: ${seen}\r\nx-kind: good!\r\n\r\nok`;
  expect(first).toBe(answer('/one?a|a:1|mine|'));
  // The next request of the connection begins anew; its head comes in two parts.
  client.text = '';
  const second = request('http://a:1?b', '');
  for (const part of [second.slice(0, 30), second.slice(30), 'bo', 'dy']) client.write(part);
  await client.reads('\r\n\r\nok');
  expect(client.text).toBe(answer('/?b|a:1||'));
  const sent = (line: string, kept: string) =>
    `${line}\r\nHost: a:1\r\n${kept}Content-Length: 4\r\nx-try: 2\r\n\r\nbody`;
  expect(heads).toEqual([sent('POST /one?a HTTP/1.1', 'X-Secrets: kept\r\n'), sent('POST http://a:1?b HTTP/1.1', '')]);
});

test('HTTP/2: fields go in and out at each try', async () => {
  const seen: unknown[] = [];
  const origin = http2Server((stream, headers) => {
    seen.push(headers['x-try'], headers['x-secret'], headers['x-own'], headers['x-try-again']);
    stream.respond({ ':status': 200, 'x-kind': 'good', 'x-inner': '1' });
    stream.end('ok');
  });
  const originPort = await listen(origin.server);
  const timers = new TimerWheel();
  const pool = new SessionPool({
    name: 'origin',
    dial: (callback) => {
      const socket = connect(originPort, '127.0.0.1', () => callback(undefined, socket));
    },
    generation: () => 0,
    now: () => timers.now,
  });
  const target = {
    acquireSession(exchange: Exchange, user: SessionUser) {
      edit(exchange);
      if (exchange.attempts === 1) user.onSession(refused(), undefined);
      else pool.acquire(user);
    },
  };
  const port = await listen(
    createServer(
      { allowHalfOpen: true },
      (socket) => new Http2Connection(socket, undefined, { ...options(timers), target, toProxy: false }),
    ),
  );
  const session = await dialHttp2(port);
  ends.push(() => {
    session.destroy();
    pool.close();
    timers.stop();
  });
  for (const _ of ['a new block', 'the same once more']) {
    const headers = { 'x-own': 'mine', 'x-try': '9', 'x-secret': 'a', 'x-try-again': '1' };
    const answer = await ask(session, { ':path': '/one?a', ...headers }, Buffer.from('body'));
    expect(answer.body.toString()).toBe('ok');
    expect(answer.headers).toMatchObject({ 'x-seen': '/one?a|web.shop|mine|', 'x-kind': 'good!' });
    expect(answer.headers['x-inner']).toBeUndefined();
  }
  expect(seen).toEqual(['2', undefined, 'mine', undefined, '2', undefined, 'mine', undefined]);
});

test('an error of the proxy says what was put in, too', async () => {
  const timers = new TimerWheel();
  const target = {
    acquire(exchange: Exchange, callback: CarrierCallback) {
      editResponse(exchange).set('retry-after', '1');
      callback(new ProxyError('no-endpoints', 'none', { source: 'control' }), undefined);
    },
    acquireSession(exchange: Exchange, user: SessionUser) {
      editResponse(exchange).set('retry-after', '1');
      user.onSession(new ProxyError('no-endpoints', 'none', { source: 'control' }), undefined);
    },
  };
  const both = { ...options(timers), target, toProxy: false };
  const first = await listen(createServer((socket) => new Http1Connection(socket, undefined, both)));
  const second = await listen(createServer((socket) => new Http2Connection(socket, undefined, both)));
  ends.push(() => timers.stop());
  const answer = await fetch(`http://127.0.0.1:${first}`);
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
  const session = await dialHttp2(second);
  ends.push(() => session.destroy());
  expect((await ask(session)).headers).toMatchObject({ ':status': 503, 'retry-after': '1' });
  const call = await ask(session, { 'content-type': 'application/grpc' }, Buffer.from('x'));
  expect(call.headers).toMatchObject({ 'grpc-status': '14', 'retry-after': '1' });
});

test('of one name there is one line at most, whichever way it was said before', () => {
  const edit = new HeadEdit();
  edit.add('x', '1');
  edit.add('x', '2');
  edit.add('y', '1');
  expect(edit.fields).toEqual(['x', '2', 'y', '1']);
  edit.set('x', '3');
  expect(edit.fields).toEqual(['y', '1', 'x', '3']);
  edit.drop('y');
  expect(edit.fields).toEqual(['x', '3']);
  expect([...edit.names]).toEqual(['x', 'y']);
});
