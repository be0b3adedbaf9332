/** What the proxy, as a client, says to servers that break RFC 9113, and what its own client hears of it. */
import { expect, test } from 'vitest';
import type { HttpObserver, Limits } from '../../http/exchange.ts';
import { until } from '../../test-peer.ts';
import { begin, type ClientCase, checkClient } from './client-cases.ts';
import {
  block,
  bytes,
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  filled,
  GOAWAY,
  get,
  goaway,
  HEADERS,
  headers,
  INTERNAL_ERROR,
  literal,
  NO_ERROR,
  open,
  PADDED,
  PING,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  ping,
  post,
  REFUSED_STREAM,
  RST_STREAM,
  raw,
  reset,
  STREAM_CLOSED,
  settings,
  settingsAck,
  u32,
  windowUpdate,
} from './raw-frames.ts';

const ok = bytes(0x88);
const head = headers(1, ok, END_HEADERS);
const whole = headers(1, ok);
const trailer = headers(1, literal('x-trailer', '1'));
const lost = { status: 502 };
const cut = { reset: INTERNAL_ERROR };

/** Connection errors, each said to a request that has not been answered. */
const breaches: [section: string, what: string, code: number, ...Buffer[]][] = [
  ['4.2', 'a frame larger than 16 KiB', FRAME_SIZE_ERROR, head, data(1, filled(16_385))],
  ['4.3', 'a block that cannot be read', COMPRESSION_ERROR, headers(1, bytes(0x88, 0x80))],
  ['5.1', 'HEADERS on a stream that was not begun', PROTOCOL_ERROR, headers(3, ok)],
  ['5.1', 'DATA on a stream that was not begun', PROTOCOL_ERROR, data(3, 'x')],
  ['5.1', 'WINDOW_UPDATE on a stream that was not begun', PROTOCOL_ERROR, windowUpdate(3, 1)],
  ['5.1', 'RST_STREAM on a stream that was not begun', PROTOCOL_ERROR, reset(3)],
  ['5.1.1', 'HEADERS on a stream of the server’s', PROTOCOL_ERROR, headers(2, ok)],
  ['5.1.1', 'DATA on a stream of the server’s', PROTOCOL_ERROR, data(2, 'x')],
  ['6.1', 'DATA on stream 0', PROTOCOL_ERROR, data(0, 'x')],
  ['6.1', 'padding longer than its frame', PROTOCOL_ERROR, head, raw(DATA, PADDED, 1, 9, 'x')],
  ['6.2', 'HEADERS on stream 0', PROTOCOL_ERROR, headers(0, ok)],
  ['6.4', 'RST_STREAM of another length than 4', FRAME_SIZE_ERROR, raw(RST_STREAM, 0, 1, filled(5))],
  ['6.5.2', 'ENABLE_PUSH of 1', PROTOCOL_ERROR, settings(2, 1)],
  ['6.5.2', 'ENABLE_PUSH of 2', PROTOCOL_ERROR, settings(2, 2)],
  ['6.5.2', 'INITIAL_WINDOW_SIZE above 2^31-1', FLOW_CONTROL_ERROR, settings(4, 2 ** 31)],
  ['6.5.2', 'MAX_FRAME_SIZE below 2^14', PROTOCOL_ERROR, settings(5, 1)],
  ['6.6', 'PUSH_PROMISE', PROTOCOL_ERROR, raw(PUSH_PROMISE, END_HEADERS, 1, u32(2), get)],
  ['6.7', 'PING on a stream', PROTOCOL_ERROR, raw(PING, 0, 1, filled(8))],
  ['6.8', 'GOAWAY on a stream', PROTOCOL_ERROR, raw(GOAWAY, 0, 1, filled(8))],
  ['6.8', 'GOAWAY cut short', FRAME_SIZE_ERROR, raw(GOAWAY, 0, 0, filled(4))],
  ['6.9', 'WINDOW_UPDATE of 0 on the connection', PROTOCOL_ERROR, windowUpdate(0, 0)],
  ['6.9.1', 'a window of the connection’s above 2^31-1', FLOW_CONTROL_ERROR, windowUpdate(0, 2 ** 31 - 1)],
  ['6.10', 'CONTINUATION of nothing', PROTOCOL_ERROR, raw(CONTINUATION, END_HEADERS, 1, ok)],
  ['6.10', 'a block that DATA interrupts', PROTOCOL_ERROR, headers(1, ok, 0), data(1, 'x')],
  ['6.10', 'a block that another stream’s interrupts', PROTOCOL_ERROR, headers(1, ok, 0), headers(3, ok)],
];

/** Malformed responses (section 8.1.1): stream errors of PROTOCOL_ERROR. */
const malformed: [section: string, what: string, client: ClientCase['client'], ...Buffer[]][] = [
  ['8.1', 'DATA ahead of HEADERS', lost, data(1, 'x', END_STREAM)],
  ['8.1', 'an interim response that ends the stream', lost, headers(1, block(':status', '103'))],
  ['8.1', 'DATA behind an interim response', lost, headers(1, block(':status', '103'), END_HEADERS), data(1, 'x')],
  ['8.1', 'a trailer that does not end the stream', cut, head, headers(1, literal('x', '1'), END_HEADERS)],
  [
    '8.1.1',
    'more content than its length',
    cut,
    headers(1, bytes(ok, literal('content-length', '1')), 4),
    data(1, 'ab'),
  ],
  [
    '8.1.1',
    'less content than its length',
    cut,
    headers(1, bytes(ok, literal('content-length', '3')), 4),
    data(1, 'ab', 1),
  ],
  ['8.1.1', 'a length, and no content', lost, headers(1, bytes(ok, literal('content-length', '3')))],
  ['8.1.1', 'a length that is no number', lost, headers(1, bytes(ok, literal('content-length', 'x')))],
  ['8.1.1', 'two lengths', lost, headers(1, bytes(ok, literal('content-length', '0'), literal('content-length', '1')))],
  ['8.2', 'a name in upper case', lost, headers(1, bytes(ok, literal('X', '1')))],
  ['8.2.1', 'a value with CR LF', lost, headers(1, bytes(ok, literal('x', 'a\r\nb: c')))],
  ['8.3', 'a pseudo-header field of requests', lost, headers(1, bytes(ok, literal(':path', '/')))],
  ['8.3', 'a pseudo-header field behind others', lost, headers(1, bytes(literal('x', '1'), ok))],
  ['8.3', 'a pseudo-header field in a trailer', cut, head, whole],
  ['8.3.2', 'no :status', lost, headers(1, literal('x', '1'))],
  ['8.3.2', 'two :status', lost, headers(1, bytes(ok, ok))],
  ['8.3.2', 'a :status that is no number', lost, headers(1, block(':status', 'ok'))],
  ['8.3.2', 'a :status of four digits', lost, headers(1, block(':status', '2000'))],
  ['8.6', '101', lost, headers(1, block(':status', '101'), END_HEADERS)],
];

checkClient([
  ...(
    [
      ['HEADERS', whole],
      ['an acknowledgement', settingsAck],
      ['PING', ping('12345678')],
      ['GOAWAY', goaway(0)],
      ['HTTP/1', bytes('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')],
    ] as const
  ).map(([what, first]) => ({
    section: '3.4',
    must: `the server’s first frame is SETTINGS, not ${what}`,
    first,
    send: [],
    server: { goaway: what === 'HTTP/1' ? FRAME_SIZE_ERROR : PROTOCOL_ERROR },
    client: lost,
  })),
  ...breaches.map(([section, what, code, ...send]) => ({
    section,
    must: `a connection error: ${what}`,
    send,
    server: { goaway: code },
    client: send[0]!.equals(head) ? cut : lost,
  })),
  ...malformed.map(([section, what, client, ...send]) => ({
    section,
    must: `a stream error of PROTOCOL_ERROR: ${what}`,
    send,
    server: { reset: PROTOCOL_ERROR },
    client,
  })),
  {
    section: '5.1',
    must: 'HEADERS behind the end are an error of STREAM_CLOSED, here of the connection',
    send: [whole, trailer],
    open: true,
    server: { goaway: STREAM_CLOSED },
    client: { status: 200 },
  },
  {
    section: '6.1',
    must: 'DATA behind the end is a stream error of STREAM_CLOSED',
    send: [whole, data(1, 'x')],
    open: true,
    server: { reset: STREAM_CLOSED },
    client: { status: 200 },
  },
  {
    section: '6.1',
    must: 'DATA behind the end of both is a stream error of STREAM_CLOSED',
    send: [whole, data(1, 'x')],
    server: { reset: STREAM_CLOSED },
    client: { status: 200 },
  },
  {
    section: '6.1',
    must: 'DATA behind the server’s RST_STREAM is a stream error of STREAM_CLOSED',
    send: [reset(1), data(1, 'x')],
    server: { reset: STREAM_CLOSED },
    client: { reset: CANCEL },
  },
  {
    section: '6.3',
    must: 'PRIORITY of another length than 5 is a stream error of FRAME_SIZE_ERROR',
    send: [raw(2, 0, 1, filled(4))],
    server: { reset: FRAME_SIZE_ERROR },
    client: { reset: FRAME_SIZE_ERROR },
  },
  {
    section: '6.9',
    must: 'WINDOW_UPDATE of 0 is a stream error of PROTOCOL_ERROR',
    send: [windowUpdate(1, 0)],
    server: { reset: PROTOCOL_ERROR },
    client: { reset: PROTOCOL_ERROR },
  },
  {
    section: '6.9.1',
    must: 'a stream’s window above 2^31-1 is a stream error of FLOW_CONTROL_ERROR',
    send: [windowUpdate(1, 2 ** 31 - 1)],
    server: { reset: FLOW_CONTROL_ERROR },
    client: { reset: FLOW_CONTROL_ERROR },
  },
  {
    section: '6.9.1',
    must: 'more DATA than the window is a stream error of FLOW_CONTROL_ERROR',
    // The client takes 65,535 bytes, the proxy holds 65,536.
    send: [head, ...Array.from({ length: 9 }, () => data(1, filled(16_384)))],
    server: { reset: FLOW_CONTROL_ERROR },
    client: { reset: FLOW_CONTROL_ERROR },
  },
]);

test('8.1: interim responses, content, trailer and late frames pass in order', async () => {
  const { client, asked } = await begin();
  client.send(headers(1, post));
  const early = headers(1, bytes(block(':status', '103'), literal('link', '</a>')), END_HEADERS);
  (await asked(0, 1)).send(early, early, head, data(1, 'body'), trailer, windowUpdate(1, 1), reset(1, NO_ERROR));
  await until(() => client.hasEnded(1), 'the answer');
  expect(client.statuses(1)).toEqual([103, 103, 200]);
  expect(String(client.contentOf(1))).toBe('body');
  expect(client.of(HEADERS, 1).length).toBe(4);
  expect(client.of(RST_STREAM)).toEqual([]);
});

test('5.1: what comes on a stream that the proxy has reset is read and forgotten, blocks with their table', async () => {
  const { client, servers, asked } = await begin();
  client.send(headers(1, get));
  await asked(0, 1);
  client.send(reset(1));
  await until(() => servers[0]!.resetOf(1) !== undefined, 'the reset');
  // `x: 1` goes into the table.
  servers[0]!.send(headers(1, bytes(ok, 0x40, 1, 'x', 1, '1'), END_HEADERS), data(1, 'late'), trailer);
  client.send(headers(3, get));
  (await asked(0, 3)).send(headers(3, bytes(ok, 0xbe)));
  await client.answers(3, 200);
  expect(client.of(HEADERS, 3)[0]!.payload.includes('x')).toBe(true);
  expect(servers[0]!.goaway).toBeUndefined();
});

test('5.1.2: the server’s limit of streams is kept, none too, and as it changes', async () => {
  const { client, servers, asked } = await begin();
  client.send(headers(1, post));
  const server = await asked(0, 1);
  server.send(settings(3, 1));
  await server.fence();
  client.send(headers(3, post));
  // A second connection; that one allows one stream from the first on.
  await until(() => servers.length === 2, 'another connection');
  servers[1]!.send(settings(3, 0));
  server.send(settings(3, 0), whole);
  await client.answers(1, 200);
  expect(server.of(HEADERS).length).toBe(1);
});

test('6.5.3: the server’s SETTINGS are acknowledged, each', async () => {
  const { client, asked } = await begin();
  client.send(headers(1, get));
  const server = await asked(0, 1);
  server.send(settings(1, 0), settings(6, 100_000));
  await server.fence();
  expect(server.acknowledgedSettings).toBe(3);
});

test('6.8: a request that the server has not looked at goes to another connection, whatever its method', async () => {
  const { client, servers, asked } = await begin();
  client.send(headers(1, post));
  (await asked(0, 1)).send(goaway(0, NO_ERROR));
  (await asked(1, 1)).send(whole);
  await client.answers(1, 200);
  await until(() => servers[0]!.closed, 'the end of the first');
});

test('6.8: requests that it has looked at finish, and later ones go elsewhere', async () => {
  const { client, asked } = await begin();
  client.send(headers(1, post));
  const first = await asked(0, 1);
  first.send(goaway(2 ** 31 - 1, NO_ERROR));
  await first.fence();
  client.send(headers(3, post));
  (await asked(1, 1)).send(whole);
  await client.answers(3, 200);
  first.send(goaway(1, NO_ERROR), whole);
  await client.answers(1, 200);
  expect(first.of(HEADERS).length).toBe(1);
});

test('6.8: a server that breaks off with GOAWAY fails what it has looked at, once', async () => {
  const { client, servers, asked } = await begin();
  client.send(headers(1, post));
  const first = await asked(0, 1);
  first.send(goaway(1, ENHANCE_YOUR_CALM, 'too much'));
  first.socket.end();
  await client.answers(1, 502);
  expect(servers.length).toBe(1);
});

test('6.9: a request’s content stops at the server’s windows, the stream’s and the connection’s', async () => {
  const { client, asked } = await begin(settings(4, 10));
  client.send(open);
  const server = await asked(0, 1);
  await server.fence();
  const part = filled(15_000);
  client.send(...Array.from({ length: 4 }, () => data(1, part)), headers(3, post, END_HEADERS));
  await asked(0, 3);
  const sent = () => server.of(DATA).reduce((sum, { payload }) => sum + payload.length, 0);
  const holds = async (size: number) => {
    await until(() => sent() >= size, `${size} bytes`);
    await server.fence();
    expect(sent()).toBe(size);
  };
  // What was sent before the server's settings were known counts.
  const before = sent();
  server.send(settings(4, 100_000));
  await holds(60_000);
  expect(before).toBeLessThanOrEqual(60_000);
  client.send(data(3, part), data(3, part));
  await holds(65_535);
  server.send(windowUpdate(0, 1_000));
  await holds(66_535);
});

test('RFC 7541 4.2: a server whose table is smaller is told so ahead of the next block, once', async () => {
  const { client, asked } = await begin();
  client.send(headers(1, get));
  const server = await asked(0, 1);
  server.send(settings(1, 0), whole);
  await server.fence();
  for (const stream of [3, 5]) {
    client.send(headers(stream, get));
    (await asked(0, stream)).send(headers(stream, ok));
    await client.answers(stream, 200);
  }
  expect(server.of(HEADERS).map(({ payload }) => payload[0])).toEqual([0x82, 0x20, 0x82]);
});

test('8.7: a call refused behind its head, while it is held for its status, is tried again by its policy alone', async () => {
  const tries: string[] = [];
  const retries: (string | undefined)[] = [];
  const limits: Limits = {
    responseMs: 0,
    idleMs: 0,
    retriesGrpc: true,
    again: (_, error) => (retries.push(error?.code) === 1 ? 0 : -1),
  };
  const observer: HttpObserver = {
    requestBegin(exchange) {
      exchange.limits = limits;
    },
    attemptEnd: (_, error) => void tries.push(error?.code ?? 'answered'),
    requestEnd() {},
  };
  const { client, asked } = await begin(undefined, observer);
  const type = literal('content-type', 'application/grpc');
  client.send(headers(1, bytes(post, type)));
  (await asked(0, 1)).send(headers(1, bytes(ok, type), END_HEADERS), reset(1, REFUSED_STREAM));
  (await asked(0, 3)).send(headers(3, bytes(ok, type, literal('grpc-status', '0'))));
  await client.answers(1, 200);
  expect(client.statuses(1)).toEqual([200]);
  // Each try ended once; what answered had seen the request, whatever its reset says.
  expect(tries).toEqual(['answered', 'answered']);
  expect(retries).toEqual(['stream-reset', undefined]);
});
