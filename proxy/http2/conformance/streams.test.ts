/** The states of streams, their numbers, and the ends of streams and connections: RFC 9113 sections 5.1, 5.4 and 6.8. */
import { expect, test } from 'vitest';
import { until } from '../../test-peer.ts';
import {
  CANCEL,
  data,
  END_HEADERS,
  END_STREAM,
  FRAME_SIZE_ERROR,
  GOAWAY,
  get,
  goaway,
  HEADERS,
  headers,
  hold,
  literal,
  NO_ERROR,
  open,
  PING,
  PRIORITY,
  PROTOCOL_ERROR,
  post,
  REFUSED_STREAM,
  RST_STREAM,
  raw,
  reset,
  SETTINGS,
  STREAM_CLOSED,
  u32,
  windowUpdate,
} from './raw-frames.ts';
import {
  type Case,
  checkServer,
  connectionError,
  dial,
  ended,
  fence,
  lastConnection,
  type Step,
  streamError,
} from './server-cases.ts';

const trailer = headers(1, literal('x-trailer', '1'));
/** Of stream 1: it has ended for both, the client has reset it, the server has. */
const closed: Step[] = [headers(1, get), ended(1)];
const cancelled: Step[] = [headers(1, hold), reset(1)];
const broken: Step[] = [open, windowUpdate(1, 0), fence];

const cases: Case[] = [
  connectionError('5.1 idle', 'DATA', PROTOCOL_ERROR, data(1, 'x')),
  connectionError('5.1 idle', 'WINDOW_UPDATE', PROTOCOL_ERROR, windowUpdate(1, 1)),
  connectionError(
    '5.1 idle',
    'what comes on the server’s streams, which there are none of',
    PROTOCOL_ERROR,
    windowUpdate(2, 1),
  ),
  { section: '5.1 open', must: 'any frame may come', send: [open, data(1, 'x'), trailer], verdict: { status: 200 } },
  streamError('5.1 half-closed (remote)', 'DATA', STREAM_CLOSED, headers(1, hold), data(1, 'x')),
  streamError(
    '5.1 half-closed (remote)',
    'DATA without content, that ends the stream once more',
    STREAM_CLOSED,
    open,
    data(1, '', END_STREAM),
    data(1, '', END_STREAM),
  ),
  connectionError('5.1 half-closed (remote)', 'HEADERS', STREAM_CLOSED, headers(1, hold), trailer),
  {
    section: '5.1 half-closed (remote)',
    must: 'WINDOW_UPDATE, PRIORITY and RST_STREAM are no error',
    send: [headers(1, hold), windowUpdate(1, 9), raw(PRIORITY, 0, 1, u32(0), 1), reset(1)],
    verdict: 'passes',
  },
  {
    section: '5.1 closed',
    must: 'WINDOW_UPDATE, PRIORITY and RST_STREAM are no error',
    send: [...closed, windowUpdate(1, 9), raw(PRIORITY, 0, 1, u32(0), 1), reset(1)],
    verdict: 'passes',
  },
  streamError('6.1 closed', 'DATA', STREAM_CLOSED, ...closed, data(1, 'x')),
  streamError('6.1 closed by the client’s RST_STREAM', 'DATA', STREAM_CLOSED, ...cancelled, data(1, 'x')),
  connectionError('5.1.1 closed', 'HEADERS, which begin no stream again', PROTOCOL_ERROR, ...closed, headers(1, get)),
  connectionError('5.1.1 closed by the client’s RST_STREAM', 'HEADERS', PROTOCOL_ERROR, ...cancelled, headers(1, get)),
  {
    section: '5.1 closed by the server’s RST_STREAM',
    must: 'what was on its way is read and forgotten',
    send: [
      ...broken,
      ...[data(1, 'x'), data(1, 'y'), windowUpdate(1, 5), raw(PRIORITY, 0, 1, u32(0), 1), trailer, reset(1)],
    ],
    verdict: { reset: PROTOCOL_ERROR },
  },
  connectionError('5.1.1', 'a client’s streams have odd numbers', PROTOCOL_ERROR, headers(2, get)),
  connectionError('5.1.1', 'numbers grow: a lower one', PROTOCOL_ERROR, headers(5, get), headers(3, get)),
  {
    section: '5.1.1',
    must: 'numbers may be left out',
    send: [headers(5, get), headers(501, get)],
    verdict: { status: 200, on: 501 },
  },
  {
    section: '5.1.1',
    must: 'those left out are closed: WINDOW_UPDATE is no error',
    send: [headers(5, get), windowUpdate(3, 1), reset(3)],
    verdict: 'passes',
  },
  {
    section: '5.1.1',
    must: 'those left out are closed: DATA is a stream error of STREAM_CLOSED',
    send: [headers(5, get), data(3, 'x')],
    verdict: { reset: STREAM_CLOSED, on: 3 },
  },
  {
    section: '5.1.2',
    must: 'streams beyond SETTINGS_MAX_CONCURRENT_STREAMS are refused',
    send: [...Array.from({ length: 201 }, (_, i) => headers(2 * i + 1, hold)), fence, reset(1), fence],
    verdict: { reset: REFUSED_STREAM, on: 401 },
  },
  {
    section: '5.4.2',
    must: 'RST_STREAM is not answered with RST_STREAM',
    send: [open, reset(1, PROTOCOL_ERROR)],
    verdict: 'passes',
  },
  {
    section: '8.1',
    must: 'a client that takes its request back may do so at any time',
    send: [headers(1, hold), reset(1), reset(1), reset(1)],
    verdict: 'passes',
  },
];

checkServer(cases);

test('3.4: the server’s first frame is SETTINGS, and tells its limit of streams', async () => {
  const peer = await dial();
  await peer.fence();
  const [first] = peer.frames;
  expect(first).toMatchObject({ type: SETTINGS, flags: 0, stream: 0 });
  const values = new Map<number, number>();
  for (let at = 0; at < first!.payload.length; at += 6) {
    values.set(first!.payload.readUInt16BE(at), first!.payload.readUInt32BE(at + 2));
  }
  expect(values.get(3)).toBe(200);
});

test('5.1.1: the highest number is a stream like others, and the last', async () => {
  const peer = await dial();
  peer.send(headers(2 ** 31 - 1, get));
  await peer.answers(2 ** 31 - 1, 200);
  peer.send(headers(1, get));
  await peer.endsWith(PROTOCOL_ERROR);
  expect(peer.of(GOAWAY)[0]!.payload.readUInt32BE(0)).toBe(2 ** 31 - 1);
});

test('5.4.1: GOAWAY names the last stream that was looked at, and nothing comes behind it', async () => {
  const peer = await dial();
  peer.send(headers(1, get), headers(7, hold));
  await peer.answers(1, 200);
  peer.send(raw(PING, 0, 0, 'short'), headers(9, get));
  await peer.endsWith(FRAME_SIZE_ERROR);
  expect(peer.frames.at(-1)).toMatchObject({ type: GOAWAY, stream: 0 });
  expect(peer.of(GOAWAY)[0]!.payload.readUInt32BE(0)).toBe(7);
});

test('6.7: PING is answered with its own bytes, and an answer is not', async () => {
  const peer = await dial();
  peer.send(raw(PING, 1, 0, 'answered'), raw(PING, 0, 0, '\x00\xff234567'));
  await peer.fence();
  const answers = peer.of(PING).map(({ flags, payload }) => [flags, payload.toString('latin1')]);
  expect(answers[0]).toEqual([1, '\x00\xff234567']);
  expect(answers.length).toBe(2);
});

test('6.8: the client’s GOAWAY is answered; its streams finish, and what it begins behind that is not looked at', async () => {
  const peer = await dial();
  peer.send(open, goaway(0));
  await until(() => peer.goaway !== undefined, 'GOAWAY');
  peer.send(headers(3, get), headers(5, post, END_HEADERS), data(5, 'x'), data(1, '', END_STREAM));
  await peer.answers(1, 200);
  await peer.endsWith(NO_ERROR);
  expect(peer.of(GOAWAY).map(({ payload }) => payload.readUInt32BE(0))).toEqual([1]);
  expect([...peer.of(HEADERS, 3), ...peer.of(HEADERS, 5), ...peer.of(RST_STREAM)]).toEqual([]);
});

test('6.8: GOAWAY on a connection without streams ends it, with GOAWAY', async () => {
  const peer = await dial();
  peer.send(goaway(0, NO_ERROR));
  await peer.endsWith(NO_ERROR);
});

test('6.8: a server that stops takes the streams on their way, and names the last', async () => {
  const peer = await dial();
  peer.send(headers(1, hold));
  await peer.fence();
  lastConnection().drain();
  await until(() => peer.of(PING).some(({ flags }) => flags === 0), 'the PING behind GOAWAY');
  peer.send(headers(3, get), raw(PING, 1, 0, peer.of(PING).find(({ flags }) => flags === 0)!.payload));
  await peer.answers(3, 200);
  await until(() => peer.of(GOAWAY).length === 2, 'the second GOAWAY');
  expect(peer.of(GOAWAY).map(({ payload }) => payload.readUInt32BE(0))).toEqual([2 ** 31 - 1, 3]);
  peer.send(reset(1, CANCEL));
  await peer.endsWith(NO_ERROR);
});
