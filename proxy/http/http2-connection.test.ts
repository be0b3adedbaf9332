/** The HTTP/2 door, frame by frame: what is refused, what ends a connection, and how one is drained. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { errorCode, flag, frame, maxWindow, setting, uint32 } from '../http2/frames.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import { http2Server } from '../test-http2.ts';
import { type Door, openDoor } from '../test-http2-door.ts';
import { WireClient } from '../test-http2-wire.ts';
import { until } from '../test-peer.ts';

let door: Door;
let origin: ReturnType<typeof http2Server>;
let seen: Record<string, string | string[] | undefined>[];
const clients: WireClient[] = [];

beforeEach(async () => {
  seen = [];
  origin = http2Server((stream, headers) => {
    seen.push(headers as Record<string, string>);
    if (headers[':path'] === '/hold') return stream.respond({ ':status': 200 });
    stream.resume();
    stream.on('end', () => {
      if (stream.destroyed) return;
      stream.respond({ ':status': 200 });
      stream.end('fine');
    });
  });
  await once(origin.server.listen(0, '127.0.0.1'), 'listening');
  door = await openDoor((origin.server.address() as AddressInfo).port);
});

afterEach(() => {
  for (const client of clients.splice(0)) client.socket.destroy();
  for (const session of origin.sessions) session.destroy();
  origin.server.close();
  door.close();
});

function dial(settings: readonly number[] = []): WireClient {
  const client = new WireClient(door.port, settings);
  clients.push(client);
  return client;
}

const head = [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '/'];
const withHead = (...more: string[]) => [...head, ...more];
const changed = (name: string, value: string | undefined) => {
  const at = head.indexOf(name);
  return [...head.slice(0, at), ...(value === undefined ? [] : [name, value]), ...head.slice(at + 2)];
};

test.each<[string, string, string[]]>([
  ['a name in upper case', 'bad-header-name', withHead('X-Upper', '1')],
  ['a name with a space', 'bad-header-name', withHead('x y', '1')],
  ['an empty name', 'bad-header-name', withHead('', '1')],
  ['a value with CR LF', 'bad-header-value', withHead('x', 'a\r\nevil: 1')],
  ['a value with NUL', 'bad-header-value', withHead('x', 'a\0b')],
  ['a value with space around', 'bad-header-value', withHead('x', ' a')],
  ['no method', 'bad-pseudo-header', changed(':method', undefined)],
  ['no scheme', 'bad-pseudo-header', changed(':scheme', undefined)],
  ['no path', 'bad-pseudo-header', changed(':path', undefined)],
  ['a method with a space', 'bad-pseudo-header', changed(':method', 'GET /x')],
  ['two paths', 'bad-pseudo-header', [...head, ':path', '/other']],
  ['a pseudo-header behind others', 'bad-pseudo-header', ['x', '1', ...head]],
  ['a pseudo-header of responses', 'bad-pseudo-header', [':status', '200', ...head]],
  ['an empty path', 'bad-target', changed(':path', '')],
  ['a path with a space', 'bad-target', changed(':path', '/a b')],
  ['a path that is no path', 'bad-target', changed(':path', 'other')],
  ['* without OPTIONS', 'bad-target', changed(':path', '*')],
  ['no authority', 'host-missing', changed(':authority', undefined)],
  ['a host that differs', 'host-conflict', withHead('host', 'other')],
  ['two hosts', 'host-repeated', withHead('host', 'web', 'host', 'web')],
  ['an authority with a user', 'bad-header-value', changed(':authority', 'user@web')],
  ['Connection', 'connection-header', withHead('connection', 'close')],
  ['Transfer-Encoding', 'connection-header', withHead('transfer-encoding', 'chunked')],
  ['Upgrade', 'connection-header', withHead('upgrade', 'websocket')],
  ['Keep-Alive', 'connection-header', withHead('keep-alive', '5')],
  ['Proxy-Connection', 'connection-header', withHead('proxy-connection', 'close')],
  ['TE with more than trailers', 'connection-header', withHead('te', 'gzip')],
  ['a length that is no number', 'bad-length', withHead('content-length', '+1')],
  ['two lengths', 'length-repeated', withHead('content-length', '0', 'content-length', '0')],
  ['CONNECT', 'method-refused', [':method', 'CONNECT', ':authority', 'web:80']],
  ['extended CONNECT', 'method-refused', [...changed(':method', 'CONNECT'), ':protocol', 'websocket']],
  ['too many headers', 'head-too-large', withHead(...Array.from({ length: 300 }, () => ['x', '1']).flat())],
])('refused and not forwarded: %s', async (_, code, headers) => {
  const client = dial();
  client.request(1, headers);
  await until(() => client.ended.has(1), 'the answer');
  expect(client.value(1, 'mesh-error')).toMatch(new RegExp(`^${code}; `));
  expect(client.content.get(1)).toContain(`[mesh ${code}]`);
  expect(door.refused).toEqual([code]);
  // The connection is as good as before.
  client.request(3, head);
  await until(() => client.content.get(3) === 'fine', 'another request');
  expect(seen.length).toBe(1);
});

test('more than 64 KiB of headers are answered 431', async () => {
  const client = dial();
  const block = encodeHeaders(withHead('x', 'y'.repeat(66_000)));
  client.send(frame.headers, flag.endStream, 1, block.subarray(0, 16_000));
  for (let at = 16_000; at < block.length; at += 16_000) {
    const last = at + 16_000 >= block.length;
    client.send(frame.continuation, last ? flag.endHeaders : 0, 1, block.subarray(at, at + 16_000));
  }
  await until(() => client.ended.has(1), 'the answer');
  expect(client.value(1, ':status')).toBe('431');
});

test('60 KiB of headers pass, over frames as many as they need', async () => {
  const client = dial();
  const value = 'y'.repeat(60_000);
  const block = encodeHeaders(withHead('x-long', value));
  client.send(frame.headers, flag.endStream, 1, block.subarray(0, 16_000));
  for (let at = 16_000; at < block.length; at += 16_000) {
    const last = at + 16_000 >= block.length;
    client.send(frame.continuation, last ? flag.endHeaders : 0, 1, block.subarray(at, at + 16_000));
  }
  await until(() => client.ended.has(1), 'the answer');
  expect(client.content.get(1)).toBe('fine');
  expect(seen[0]!['x-long']).toBe(value);
});

test.each<[string, (client: WireClient) => void]>([
  ['more content than its length', (client) => client.data(1, 'abcdef', true)],
  ['less content than its length', (client) => client.data(1, 'ab', true)],
  ['no content at all', (client) => client.data(1, '', true)],
  ['a trailer with a pseudo-header', (client) => client.request(1, [':path', '/'])],
  ['a trailer that is none', (client) => client.request(1, ['x', '1'], false)],
])('a request with a length of 5 and %s is reset', async (_, rest) => {
  const client = dial();
  client.request(1, [...changed(':method', 'POST'), 'content-length', '5'], false);
  rest(client);
  await until(() => client.resets.has(1), 'the reset');
  expect(client.resets.get(1)).toBe(errorCode.protocolError);
  expect(client.content.get(1)).toBeUndefined();
  client.request(3, head);
  await until(() => client.content.get(3) === 'fine', 'another request');
});

test('what comes late on a stream that was reset does no harm', async () => {
  const client = dial();
  client.request(1, [...changed(':method', 'POST'), 'content-length', '1'], false);
  client.data(1, 'too much');
  await until(() => client.resets.has(1), 'the reset');
  client.data(1, 'more');
  client.request(1, ['x-trailer', '1']);
  client.request(3, head);
  await until(() => client.content.get(3) === 'fine', 'another request');
  expect(client.goaways).toEqual([]);
});

test('a drained connection takes what is on its way, finishes, and ends', async () => {
  const client = dial();
  client.request(1, changed(':path', '/hold'));
  await until(() => client.headers.has(1), 'the head');
  door.connections[0]!.drain();
  // Sent before the client has read the first GOAWAY.
  client.request(3, head);
  await until(() => client.content.get(3) === 'fine', 'the late request');
  await until(() => client.goaways.length === 2, 'both GOAWAYs');
  expect(client.goaways).toEqual([
    { last: maxWindow, code: errorCode.noError },
    { last: 3, code: errorCode.noError },
  ]);
  client.request(5, [...changed(':method', 'POST')], false);
  client.data(5, 'for nobody', true);
  expect(client.closed).toBe(false);
  for (const session of origin.sessions) session.destroy();
  await until(() => client.closed, 'the end');
  expect(client.content.get(5)).toBeUndefined();
  expect(client.resets.get(1)).toBe(errorCode.internalError);
});

test('a client that sends no settings, or half a header block, is not waited for', async () => {
  const silent = connect(door.port, '127.0.0.1');
  silent.on('error', () => {}).resume();
  const client = dial();
  client.send(frame.headers, flag.endStream, 1, encodeHeaders(head));
  await until(() => door.connections.length === 2 && client.socket.bytesRead > 0, 'both connections');
  const over = Promise.all([once(silent, 'close'), until(() => client.closed, 'the end of half a block')]);
  door.timers.tick(door.timers.now + 31_000);
  door.timers.tick(door.timers.now + 31_000);
  await over;
});

test('an idle connection is ended in order after an hour', async () => {
  const client = dial();
  client.request(1, head);
  await until(() => client.ended.has(1), 'the answer');
  for (let i = 0; i < 121; i++) door.timers.tick(door.timers.now + 31_000);
  await until(() => client.goaways.length > 0, 'GOAWAY');
  expect(client.goaways[0]!.code).toBe(errorCode.noError);
});

test('rapid resets end the connection, and only that one', async () => {
  const client = dial();
  const other = dial();
  other.request(1, changed(':path', '/hold'));
  await until(() => other.headers.has(1), 'the other’s answer');
  for (let id = 1; id < 4_000 && !client.closed; id += 2) {
    client.request(id, changed(':path', '/hold'));
    client.cancel(id);
  }
  await until(() => client.closed, 'the end of the connection');
  expect(client.goaways.at(-1)!.code).toBe(errorCode.enhanceYourCalm);
  other.request(3, head);
  await until(() => other.content.get(3) === 'fine', 'the other goes on');
  expect(other.resets.size).toBe(0);
});

test.each<[string, (client: WireClient, id: number) => void]>([
  ['WINDOW_UPDATE of nothing', (client, id) => client.send(frame.windowUpdate, 0, id, uint32(0))],
  ['content longer than its length', (client, id) => client.data(id, 'too much')],
])('streams that make us reset them end the connection: %s', async (_, breach) => {
  const client = dial();
  for (let id = 1; id < 8_000 && !client.closed; id += 2) {
    client.request(id, [...changed(':method', 'POST'), 'content-length', '1'], false);
    breach(client, id);
    if (id % 100 === 1) await until(() => client.closed || client.resets.has(id), 'a reset');
  }
  await until(() => client.closed, 'the end of the connection');
  expect(client.goaways.at(-1)!.code).toBe(errorCode.enhanceYourCalm);
});

test('answers that nobody reads end the connection', async () => {
  const client = dial();
  await once(client.socket, 'data');
  client.socket.pause();
  let sent = 0;
  for (; sent < 400_000 && !client.closed; sent += 2) {
    client.request(sent + 1, ['x', '1']);
    if (sent % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  client.socket.resume();
  await until(() => client.closed, 'the end of the connection');
});

test('a client without a header table is answered with none', async () => {
  const client = dial([setting.headerTableSize, 0]);
  client.request(1, head);
  await until(() => client.ended.has(1), 'the answer');
  expect(client.value(1, ':status')).toBe('200');
});

test('a window of nothing holds content back, and heads not', async () => {
  const client = dial([setting.initialWindowSize, 0]);
  client.request(1, head);
  await until(() => client.headers.has(1), 'the head');
  expect(client.content.get(1)).toBeUndefined();
  client.send(frame.windowUpdate, 0, 1, uint32(2));
  await until(() => client.content.get(1) === 'fi', 'two bytes');
  client.send(frame.windowUpdate, 0, 1, uint32(100));
  await until(() => client.ended.has(1), 'the rest');
  expect(client.content.get(1)).toBe('fine');
});

test('a busy client may cancel, measure and end with empty frames as often as it asks for something', async () => {
  const client = dial();
  await until(() => client.socket.bytesRead > 0, 'settings');
  let id = 1;
  for (let batch = 0; batch < 60; batch++) {
    const first = id;
    for (let i = 0; i < 120; i++, id += 2) {
      client.request(id, changed(':method', 'POST'), false);
      client.send(frame.ping, 0, 0, Buffer.alloc(8));
      client.data(id, '', true);
      if (i % 3 === 0) client.cancel(id);
    }
    const answered = () => {
      for (let one = first; one < id; one += 2) {
        if ((one - first) % 6 !== 0 && !client.ended.has(one)) return false;
      }
      return true;
    };
    await until(() => client.closed || answered(), 'the answers of a batch');
  }
  expect(client.goaways).toEqual([]);
  expect(client.closed).toBe(false);
});
