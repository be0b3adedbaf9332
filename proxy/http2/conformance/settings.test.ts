/** SETTINGS and flow control at a server: RFC 9113 sections 5.2, 6.5 and 6.9. */
import { expect, test } from 'vitest';
import { until } from '../../test-peer.ts';
import {
  bytes,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  FLOW_CONTROL_ERROR,
  filled,
  get,
  headers,
  hold,
  open,
  PADDED,
  PROTOCOL_ERROR,
  raw,
  settings,
  u32,
  WINDOW_UPDATE,
  windowUpdate,
} from './raw-frames.ts';
import type { RawPeer } from './raw-peer.ts';
import { type Case, checkServer, connectionError, dial, ended, streamError } from './server-cases.ts';

const HEADER_TABLE_SIZE = 1;
const ENABLE_PUSH = 2;
const MAX_CONCURRENT_STREAMS = 3;
const INITIAL_WINDOW_SIZE = 4;
const MAX_FRAME_SIZE = 5;
const MAX_HEADER_LIST_SIZE = 6;
const most = 2 ** 31 - 1;
/** Of every connection and stream to begin with. */
const initialWindow = 65_535;
const large = bytes(0x82, 0x86, 0x04, 6, '/large', 0x01, 4, 'test');
/** To a server that does not read. */
const stuck = bytes(0x83, 0x86, 0x04, 6, '/stuck', 0x01, 4, 'test');

const cases: Case[] = [
  ...[0, 1].map((value) => ({
    section: '6.5.2',
    must: `a client’s ENABLE_PUSH may be ${value}`,
    send: [settings(ENABLE_PUSH, value)],
    verdict: 'passes' as const,
  })),
  connectionError('6.5.2', 'ENABLE_PUSH other than 0 and 1', PROTOCOL_ERROR, settings(ENABLE_PUSH, 2)),
  connectionError(
    '6.5.2',
    'INITIAL_WINDOW_SIZE above 2^31-1',
    FLOW_CONTROL_ERROR,
    settings(INITIAL_WINDOW_SIZE, most + 1),
  ),
  ...[16_383, 2 ** 24].map((value) =>
    connectionError('6.5.2', `MAX_FRAME_SIZE of ${value}`, PROTOCOL_ERROR, settings(MAX_FRAME_SIZE, value)),
  ),
  {
    section: '6.5.2',
    must: 'all else may have any value',
    send: [
      settings(MAX_FRAME_SIZE, 16_384, MAX_FRAME_SIZE, 2 ** 24 - 1, INITIAL_WINDOW_SIZE, most),
      settings(HEADER_TABLE_SIZE, 0, HEADER_TABLE_SIZE, 2 ** 32 - 1, MAX_HEADER_LIST_SIZE, 2 ** 32 - 1),
      settings(MAX_CONCURRENT_STREAMS, 0, MAX_CONCURRENT_STREAMS, 2 ** 32 - 1),
    ],
    verdict: 'passes',
  },
  streamError('6.9', 'an increment of 0', PROTOCOL_ERROR, open, windowUpdate(1, 0)),
  connectionError('6.9', 'an increment of 0 on the connection', PROTOCOL_ERROR, windowUpdate(0, 0)),
  {
    section: '6.9',
    must: 'the reserved bit of an increment is ignored',
    send: [open, raw(WINDOW_UPDATE, 0, 1, u32(0x80000001)), raw(WINDOW_UPDATE, 0, 0, u32(0x80000001))],
    verdict: 'passes',
  },
  connectionError(
    '6.9',
    'an increment of 0 with the reserved bit',
    PROTOCOL_ERROR,
    raw(WINDOW_UPDATE, 0, 0, u32(0x80000000)),
  ),
  streamError('6.9.1', 'a stream’s window above 2^31-1', FLOW_CONTROL_ERROR, open, windowUpdate(1, most)),
  streamError(
    '6.9.1',
    'a stream’s window that grew above 2^31-1 in steps',
    FLOW_CONTROL_ERROR,
    open,
    windowUpdate(1, 2 ** 30),
    windowUpdate(1, 2 ** 30),
  ),
  connectionError(
    '6.9.1',
    'the connection’s window above 2^31-1',
    FLOW_CONTROL_ERROR,
    windowUpdate(0, most - initialWindow),
    windowUpdate(0, 1),
  ),
  {
    section: '6.9.1',
    must: 'windows may be as large as 2^31-1',
    send: [open, windowUpdate(0, most - initialWindow), windowUpdate(1, most - initialWindow)],
    verdict: 'passes',
  },
  streamError(
    '6.9.1',
    'more DATA than the stream’s window',
    FLOW_CONTROL_ERROR,
    headers(1, stuck, END_HEADERS),
    ...Array.from({ length: 20 }, () => data(1, filled(16_384))),
  ),
  {
    section: '6.1',
    must: 'padding takes of the window, and is given back',
    send: [open, ...Array.from({ length: 600 }, () => raw(DATA, PADDED, 1, 255, filled(255))), data(1, '', END_STREAM)],
    verdict: { status: 200 },
  },
  connectionError(
    '6.9.2',
    'SETTINGS that make a stream’s window larger than 2^31-1',
    FLOW_CONTROL_ERROR,
    headers(1, hold),
    windowUpdate(1, most - initialWindow),
    settings(INITIAL_WINDOW_SIZE, initialWindow + 1),
  ),
  {
    section: '6.9.2',
    must: 'that holds of open streams only',
    send: [
      ...[headers(1, get), ended(1), windowUpdate(1, most - initialWindow)],
      settings(INITIAL_WINDOW_SIZE, initialWindow + 1),
    ],
    verdict: 'passes',
  },
];

checkServer(cases);

/** Waits for so much content, and sees that no more comes. */
async function holds(peer: RawPeer, size: number): Promise<void> {
  await until(() => peer.closed || peer.contentOf(1).length >= size, `${size} bytes`);
  await peer.fence();
  expect(peer.contentOf(1).length).toBe(size);
}

test('6.5.3: SETTINGS are acknowledged, each, ahead of what comes behind them', async () => {
  const peer = await dial();
  peer.send(settings(MAX_FRAME_SIZE, 20_000), settings(), settings(INITIAL_WINDOW_SIZE, 100));
  await peer.fence();
  expect(peer.acknowledgedSettings).toBe(4);
});

test('6.5.3: of a setting that comes twice the last value counts', async () => {
  const peer = await dial(INITIAL_WINDOW_SIZE, 0, INITIAL_WINDOW_SIZE, 3);
  peer.send(headers(1, get));
  await holds(peer, 3);
});

test('6.9.1: content stops at the connection’s window, and goes on as it is widened', async () => {
  const peer = await dial(INITIAL_WINDOW_SIZE, most);
  peer.send(headers(1, large));
  await holds(peer, initialWindow);
  peer.send(windowUpdate(0, 1));
  await holds(peer, initialWindow + 1);
  peer.send(windowUpdate(0, 1_000_000));
  await until(() => peer.hasEnded(1), 'the rest');
  expect(peer.contentOf(1).length).toBe(200_000);
  expect(Math.max(...peer.of(DATA).map(({ payload }) => payload.length))).toBeLessThanOrEqual(16_384);
});

test('6.9.1: content stops at the stream’s window, whatever the connection’s is', async () => {
  const peer = await dial();
  peer.send(windowUpdate(0, 1_000_000), headers(1, large));
  await holds(peer, initialWindow);
  peer.send(windowUpdate(1, 10_000));
  await holds(peer, initialWindow + 10_000);
  // A stream that waits holds up no other.
  peer.send(headers(3, get));
  await until(() => peer.hasEnded(3), 'another answer');
});

test('6.9.2: a new initial window changes those of open streams, up', async () => {
  const peer = await dial(INITIAL_WINDOW_SIZE, 0);
  peer.send(headers(1, get));
  await peer.answers(1, 200);
  await holds(peer, 0);
  peer.send(settings(INITIAL_WINDOW_SIZE, 1));
  await holds(peer, 1);
  peer.send(settings(INITIAL_WINDOW_SIZE, 1_000));
  await until(() => peer.hasEnded(1), 'the rest');
});

test('6.9.2: and down, to less than nothing: what was sent has to be given back first', async () => {
  const peer = await dial();
  peer.send(windowUpdate(0, 1_000_000), headers(1, large));
  await holds(peer, initialWindow);
  peer.send(settings(INITIAL_WINDOW_SIZE, 0), windowUpdate(1, initialWindow));
  await holds(peer, initialWindow);
  peer.send(windowUpdate(1, 10));
  await holds(peer, initialWindow + 10);
  peer.send(settings(INITIAL_WINDOW_SIZE, 20));
  await holds(peer, initialWindow + 30);
});

test('6.9: windows are given back as content is read, the connection’s and the stream’s', async () => {
  const peer = await dial();
  peer.send(open);
  const widened = (stream: number) =>
    peer.of(WINDOW_UPDATE, stream).reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
  for (let i = 1; i <= 64; i++) {
    peer.send(data(1, filled(16_384)));
    // The window is 64 KiB: no more than that may be on its way.
    await until(() => peer.closed || widened(1) >= (i - 2) * 16_384, `the window after ${i} frames`);
  }
  peer.send(data(1, '', END_STREAM));
  await peer.answers(1, 200);
  expect(peer.resetOf(1)).toBeUndefined();
});
