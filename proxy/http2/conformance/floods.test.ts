/** What a client can make a proxy do or hold without giving anything: each has a bound, and beyond it the connection ends. */
import { expect, test } from 'vitest';
import { until } from '../../test-peer.ts';
import {
  ACK,
  bytes,
  CONTINUATION,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  filled,
  GOAWAY,
  get,
  goaway,
  HEADERS,
  headers,
  hold,
  literal,
  NO_ERROR,
  open,
  PADDED,
  PING,
  PRIORITY,
  post,
  raw,
  reset,
  SETTINGS,
  settings,
  settingsAck,
  windowUpdate,
} from './raw-frames.ts';
import type { RawPeer } from './raw-peer.ts';
import { dial, type Step, seen, useDoor, written } from './server-cases.ts';

useDoor();

const idOf = (i: number) => 2 * i + 1;
/** Of frames that give nothing, and of resets: how many a connection bears at once (docs/http2.md). */
const idleFrames = 5_000;
const resets = 1_000;
/** What a second or two add to these. */
const slack = 1_000;

/** Sends frames until the connection ends, a hundred at a time. @returns how many it took in the end */
async function flood(peer: RawPeer, most: number, frame: (i: number) => Buffer): Promise<number> {
  let sent = 0;
  while (sent < most && !peer.closed && peer.goaway !== ENHANCE_YOUR_CALM) {
    peer.send(...Array.from({ length: 100 }, () => frame(sent++)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => peer.closed, `the end of the connection after ${sent} frames`);
  return sent;
}

const floods: [cve: string, what: string, frame: (i: number) => Buffer, before?: Step[]][] = [
  ['CVE-2019-9512', 'PING', () => raw(PING, 0, 0, filled(8))],
  ['CVE-2019-9512', 'answers to no PING', () => raw(PING, ACK, 0, filled(8))],
  ['CVE-2019-9515', 'SETTINGS', () => settings()],
  ['CVE-2019-9515', 'acknowledgements of no SETTINGS', () => settingsAck],
  ['CVE-2019-9513', 'PRIORITY', (i) => raw(PRIORITY, 0, idOf(i % 100), filled(5))],
  ['CVE-2019-9518', 'DATA of nothing', () => data(1, ''), [open]],
  ['CVE-2019-9518', 'DATA of padding', () => raw(DATA, PADDED, 1, 0), [open]],
  ['CVE-2019-9518', 'DATA of nothing on a stream that is over', () => data(1, ''), [headers(1, get), reset(1)]],
  ['section 5.5', 'unknown frames', () => raw(0xee, 0, 0, filled(6))],
  ['section 6.8', 'GOAWAY', () => goaway(0), [headers(1, hold)]],
  ['section 6.9', 'WINDOW_UPDATE of the connection', () => windowUpdate(0, 1)],
  ['section 6.9', 'WINDOW_UPDATE of a stream', () => windowUpdate(1, 1), [headers(1, hold)]],
  ['section 6.9', 'WINDOW_UPDATE of a stream that is over', () => windowUpdate(1, 1), [headers(1, get), reset(1)]],
];

test.each(floods)('%s: a flood of %s ends the connection', async (_cve, _what, frame, before = []) => {
  const peer = await dial();
  for (const step of before) if (step instanceof Uint8Array) peer.send(step);
  await peer.fence();
  await flood(peer, 100_000, frame);
  expect(peer.goaway).toBe(ENHANCE_YOUR_CALM);
  // Each was answered at most once, and no more than there may be.
  const answers = [PING, SETTINGS].flatMap((type) => peer.of(type)).filter(({ flags }) => flags & ACK);
  expect(answers.length).toBeLessThan(idleFrames + slack);
  expect(peer.of(GOAWAY).length).toBeLessThanOrEqual(2);
});

const madeToReset: [what: string, breach: (id: number) => Buffer][] = [
  ['WINDOW_UPDATE of 0', (id) => bytes(headers(id, hold), windowUpdate(id, 0))],
  ['a window that overflows', (id) => bytes(headers(id, hold), windowUpdate(id, 2 ** 31 - 1))],
  ['DATA behind the end', (id) => bytes(headers(id, hold), data(id, 'x'))],
  ['PRIORITY of a wrong size', (id) => bytes(headers(id, hold), raw(PRIORITY, 0, id, filled(4)))],
  [
    'a trailer that is none',
    (id) => bytes(headers(id, post, END_HEADERS), headers(id, literal('x', '1'), END_HEADERS)),
  ],
  [
    'more content than its length',
    (id) => bytes(headers(id, bytes(post, literal('content-length', '0')), 4), data(id, 'x')),
  ],
];

test.each<[cve: string, what: string, breach: (id: number) => Buffer]>([
  ['CVE-2023-44487', 'its own reset', (id) => bytes(headers(id, hold), reset(id))],
  ...madeToReset.map(([what, breach]): [string, string, typeof breach] => ['CVE-2025-8671', what, breach]),
])('%s: streams that end by %s end the connection', async (_cve, _what, breach) => {
  const peer = await dial();
  await flood(peer, 20_000, (i) => breach(idOf(i)));
  expect(peer.goaway).toBe(ENHANCE_YOUR_CALM);
  expect(seen.length).toBeLessThan(resets + slack);
});

test('streams beyond the limit, without end, end the connection', async () => {
  const peer = await dial();
  await flood(peer, 20_000, (i) => headers(idOf(i), hold));
  expect(peer.goaway).toBe(ENHANCE_YOUR_CALM);
  expect(seen.length).toBeLessThanOrEqual(200);
});

test.each<[string, number, number]>([
  ['of nothing', 0, 17],
  ['of one byte', 1, 17],
  ['as large as they may be', 16_384, 6],
])('CVE-2024-27316: CONTINUATION %s ends the connection after %i bytes each and %i frames', async (_, size, most) => {
  const peer = await dial();
  peer.send(headers(1, get, END_STREAM));
  const part = raw(CONTINUATION, 0, 1, filled(size, 0x82));
  let sent = 0;
  for (; sent < most && !peer.closed; sent++) peer.send(part);
  await peer.endsWith(ENHANCE_YOUR_CALM);
  expect(seen.length).toBe(0);
});

const table = bytes(0x40, 1, 'x', 0x7f, 0xa1, 0x1e, filled(4_000, 0x61));

test.each<[string, string, Buffer]>([
  ['CVE-2016-6581', 'a large entry named 12,000 times', bytes(get, table, filled(12_000, 0xbe))],
  ['CVE-2019-9516', 'names and values of nothing', bytes(get, filled(12_000, 0x00))],
])('%s: a list that grows in decoding is refused, not kept: %s', async (_cve, _what, one) => {
  const peer = await dial();
  for (let i = 0; i < 100; i++) peer.send(headers(idOf(i), one));
  await until(() => peer.closed || peer.hasEnded(idOf(99)), 'the last answer');
  for (let i = 0; i < 100; i++) expect(peer.statuses(idOf(i))).toEqual([431]);
  peer.send(headers(1_001, get));
  await peer.answers(1_001, 200);
  expect(seen.length).toBe(1);
});

test('a table’s size may change as often as bytes allow, and costs no more than they', async () => {
  const peer = await dial();
  for (let i = 0; i < 50; i++) peer.send(headers(idOf(i), bytes(filled(10_000, 0x20), 0x3f, 0xe1, 0x1f, get)));
  await peer.answers(idOf(49), 200);
  expect(seen.length).toBe(50);
});

test('SETTINGS may move the windows of all streams, each time they come and no more than once a frame', async () => {
  const peer = await dial(4, 0);
  for (let i = 0; i < 200; i++) peer.send(headers(idOf(i), get));
  await peer.answers(idOf(199), 200);
  // Half as many moves as fit into a frame, 200 streams each, in 500 frames.
  const moves = settings(...Array.from({ length: 1_300 }, () => [4, 2 ** 31 - 1, 4, 0]).flat());
  for (let i = 0; i < 500; i++) peer.send(moves);
  await peer.fence();
  expect(peer.contentOf(1).length).toBe(0);
  peer.send(settings(4, 10));
  await until(() => peer.hasEnded(idOf(199)), 'the content');
});

test('CVE-2019-9517: of answers that nobody reads the application is asked for no more than windows', async () => {
  const peer = await dial(4, 2 ** 31 - 1);
  await peer.fence();
  peer.socket.pause();
  peer.send(windowUpdate(0, 2 ** 30));
  for (let i = 0; i < 100; i++) peer.send(headers(idOf(i), bytes(0x82, 0x86, 0x04, 8, '/endless', 0x01, 4, 'test')));
  await until(() => written.streams.size === 100, 'the requests at the application');
  await settle(() => written.bytes);
  // Two windows of 64 KiB each, and what sockets hold.
  expect(written.bytes).toBeLessThan(100 * 2 * 65_536 + (12 << 20));
});

test('CVE-2019-9511: a window that grows by a byte gets a byte, and nothing more is asked for', async () => {
  const peer = await dial(4, 0);
  peer.send(headers(1, bytes(0x82, 0x86, 0x04, 8, '/endless', 0x01, 4, 'test')));
  await peer.answers(1, 200);
  for (let i = 0; i < 2_000; i++) peer.send(windowUpdate(1, 1));
  await until(() => peer.closed || peer.contentOf(1).length === 2_000, 'two thousand bytes');
  await peer.fence();
  expect(peer.of(DATA).length).toBeLessThanOrEqual(2_000);
  await settle(() => written.bytes);
  expect(written.bytes).toBeLessThan(4 * 65_536);
});

test('CVE-2019-9512: answers that nobody reads end the connection, before they take more than a megabyte', async () => {
  const peer = await dial();
  await peer.fence();
  peer.socket.pause();
  // Each is worth a frame of a message, so that only what is unsent counts.
  let sent = 0;
  for (; sent < 400_000 && !peer.closed; sent++) {
    peer.send(headers(idOf(sent), bytes(get, literal('X', '1'))));
    if (sent % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (peer.socket.destroyed || peer.socket.errored) break;
  }
  peer.socket.resume();
  await until(() => peer.closed, 'the end of the connection');
  expect(seen.length).toBe(0);
});

test('an end in order is one: no flood is seen in what a busy client does', async () => {
  const peer = await dial();
  for (let i = 0; i < 3_000; i++) {
    const id = idOf(i);
    peer.send(headers(id, post, END_HEADERS), raw(PING, 0, 0, filled(8)), windowUpdate(id, 1), windowUpdate(0, 1));
    peer.send(data(id, '', END_STREAM));
    if (i % 100 === 99) await until(() => peer.closed || peer.hasEnded(id), 'an answer');
  }
  expect(peer.goaway).toBeUndefined();
  peer.send(goaway(0, NO_ERROR));
  await peer.endsWith(NO_ERROR);
  expect(peer.of(HEADERS).length).toBe(3_000);
});

/** Waits until a count stays as it is for a while. */
async function settle(count: () => number): Promise<void> {
  let last = -1;
  let same = 0;
  await until(() => {
    same = count() === last ? same + 1 : 0;
    last = count();
    return same > 20;
  }, 'a count that stays');
}
