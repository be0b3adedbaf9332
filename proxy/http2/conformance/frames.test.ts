/** What a server says to frames, by RFC 9113 sections 3 to 6: each frame's stream, size, flags and place. */
import {
  ACK,
  bytes,
  CONTINUATION,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  FRAME_SIZE_ERROR,
  filled,
  GOAWAY,
  get,
  goaway,
  HEADERS,
  headers,
  hex,
  hold,
  literal,
  open,
  PADDED,
  PING,
  PRIORITY,
  PRIORITY_FLAG,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  ping,
  post,
  preface,
  RST_STREAM,
  raw,
  reset,
  SETTINGS,
  settings,
  settingsAck,
  u32,
  WINDOW_UPDATE,
  windowUpdate,
} from './raw-frames.ts';
import { type Case, checkServer, connectionError, ended, streamError } from './server-cases.ts';

/** A block of 10,000 bytes, in two parts. */
const large = bytes(get, ...Array.from({ length: 100 }, () => literal('x-pad', 'y'.repeat(92))));
const parts = [large.subarray(0, 5_000), large.subarray(5_000)] as const;
const unknown = 0xbe;

const starting: Case[] = [
  {
    section: '3.4',
    must: 'what does not begin with the preface is a connection error of PROTOCOL_ERROR',
    bare: true,
    send: [bytes('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'), settings()],
    verdict: { goaway: PROTOCOL_ERROR },
  },
  {
    section: '3.4',
    must: 'the preface is followed by SETTINGS, not HEADERS',
    bare: true,
    send: [preface, headers(1, get)],
    verdict: { goaway: PROTOCOL_ERROR },
  },
  {
    section: '3.4',
    must: 'the preface is followed by SETTINGS, not DATA',
    bare: true,
    send: [preface, data(1, 'x')],
    verdict: { goaway: PROTOCOL_ERROR },
  },
  {
    section: '3.4',
    must: 'the preface is followed by SETTINGS, not their acknowledgement',
    bare: true,
    send: [preface, settingsAck],
    verdict: { goaway: PROTOCOL_ERROR },
  },
  {
    section: '3.4',
    must: 'the SETTINGS of the preface may be empty',
    bare: true,
    send: [preface, settings(), headers(1, get)],
    verdict: { status: 200 },
  },
  {
    section: '3.4',
    must: 'frames may come in the same bytes as the preface, or the preface byte by byte',
    bare: true,
    send: [...Array.from(preface, (one) => bytes(one)), bytes(settings(), headers(1, get))],
    verdict: { status: 200 },
  },
];

const format: Case[] = [
  {
    section: '4.1',
    must: 'the reserved bit of a stream’s number is ignored',
    send: [headers(0x80000001 - 0x100000000, get)],
    verdict: { status: 200 },
  },
  {
    section: '4.1',
    must: 'flags that a type does not define are ignored',
    send: [raw(PING, 0x16, 0, '12345678'), headers(1, get, END_HEADERS | END_STREAM | 0xc2)],
    verdict: { status: 200 },
  },
  {
    section: '4.1',
    must: 'frames of unknown types are ignored',
    send: [raw(unknown, 0xff, 7, 'x')],
    verdict: 'passes',
  },
  { section: '5.5', must: 'so are unknown settings', send: [settings(0xff, 1, 0xfe, 2 ** 31)], verdict: 'passes' },
  {
    section: '4.2',
    must: 'a frame of 2^14 bytes is read',
    send: [open, data(1, filled(16_384), END_STREAM)],
    verdict: { status: 200 },
  },
  connectionError('4.2', 'DATA larger than SETTINGS_MAX_FRAME_SIZE', FRAME_SIZE_ERROR, open, data(1, filled(16_385))),
  connectionError(
    '4.2',
    'HEADERS larger than SETTINGS_MAX_FRAME_SIZE',
    FRAME_SIZE_ERROR,
    headers(1, bytes(get, filled(16_384))),
  ),
  connectionError(
    '4.2',
    'a frame of an unknown type larger than it',
    FRAME_SIZE_ERROR,
    raw(unknown, 0, 0, filled(16_385)),
  ),
  {
    section: '4.3',
    must: 'a block may be cut anywhere',
    send: [
      raw(HEADERS, END_STREAM, 1, get.subarray(0, 5)),
      raw(CONTINUATION, 0, 1, get.subarray(5, 6)),
      raw(CONTINUATION, END_HEADERS, 1, get.subarray(6)),
    ],
    verdict: { status: 200 },
  },
  connectionError(
    '5.5',
    'an unknown frame within a header block',
    PROTOCOL_ERROR,
    headers(1, get, END_STREAM),
    raw(unknown, 0, 1, 'x'),
  ),
];

const dataAndHeaders: Case[] = [
  connectionError('6.1', 'DATA on stream 0', PROTOCOL_ERROR, data(0, 'x')),
  connectionError('6.1', 'padding as long as the payload', PROTOCOL_ERROR, open, raw(DATA, PADDED, 1, 6, 'test', 0)),
  connectionError('6.1', 'padded DATA without the length of its padding', FRAME_SIZE_ERROR, open, raw(DATA, PADDED, 1)),
  {
    section: '6.1',
    must: 'padding is no content',
    send: [
      headers(1, bytes(post, literal('content-length', '2')), END_HEADERS),
      raw(DATA, PADDED | END_STREAM, 1, 3, 'ok', filled(3)),
    ],
    verdict: { status: 200 },
  },
  {
    section: '6.1',
    must: 'nothing but padding is no content at all',
    send: [open, raw(DATA, PADDED, 1, 7, filled(7)), data(1, '', END_STREAM)],
    verdict: { status: 200 },
  },
  connectionError('6.2', 'HEADERS on stream 0', PROTOCOL_ERROR, headers(0, get)),
  connectionError(
    '6.2',
    'padding longer than the rest',
    PROTOCOL_ERROR,
    headers(1, bytes(200, get), END_HEADERS | END_STREAM | PADDED),
  ),
  {
    section: '6.2',
    must: 'padded HEADERS with a priority are read',
    send: [headers(1, bytes(4, u32(0), 255, get, filled(4)), END_HEADERS | END_STREAM | PADDED | PRIORITY_FLAG)],
    verdict: { status: 200 },
  },
  connectionError(
    '6.2',
    'HEADERS too short for their priority',
    FRAME_SIZE_ERROR,
    headers(1, bytes(0, 0), END_HEADERS | END_STREAM | PRIORITY_FLAG),
  ),
  connectionError(
    '6.2',
    'a block that another stream’s HEADERS interrupt',
    PROTOCOL_ERROR,
    headers(1, get, END_STREAM),
    headers(3, get),
  ),
];

const control: Case[] = [
  {
    section: '5.3.2',
    must: 'priorities are ignored, on streams of any state, of themselves too',
    send: [
      ...[raw(PRIORITY, 0, 9, u32(9), 1), raw(PRIORITY, 0, 9, u32(0x80000003), 255)],
      ...[headers(1, get), ended(1), raw(PRIORITY, 0, 1, u32(11), 7)],
      headers(11, bytes(u32(11), 0, get), END_HEADERS | END_STREAM | PRIORITY_FLAG),
    ],
    verdict: { status: 200, on: 11 },
  },
  connectionError('6.3', 'PRIORITY on stream 0', PROTOCOL_ERROR, raw(PRIORITY, 0, 0, u32(1), 1)),
  streamError(
    '6.3',
    'PRIORITY of another length than 5',
    FRAME_SIZE_ERROR,
    headers(1, hold),
    raw(PRIORITY, 0, 1, u32(0)),
  ),
  connectionError(
    '6.3',
    'PRIORITY of another length on an idle stream, which cannot be reset',
    FRAME_SIZE_ERROR,
    raw(PRIORITY, 0, 1, filled(6)),
  ),
  connectionError('6.4', 'RST_STREAM on stream 0', PROTOCOL_ERROR, reset(0)),
  connectionError('6.4', 'RST_STREAM on an idle stream', PROTOCOL_ERROR, reset(1)),
  connectionError(
    '6.4',
    'RST_STREAM of another length than 4',
    FRAME_SIZE_ERROR,
    open,
    raw(RST_STREAM, 0, 1, filled(3)),
  ),
  { section: '6.4', must: 'codes of resets may be unknown', send: [open, reset(1, 0xdead)], verdict: 'passes' },
  connectionError(
    '6.6',
    'PUSH_PROMISE from a client',
    PROTOCOL_ERROR,
    headers(1, hold),
    raw(PUSH_PROMISE, END_HEADERS, 1, u32(2), get),
  ),
  connectionError('6.7', 'PING on a stream', PROTOCOL_ERROR, open, raw(PING, 0, 1, filled(8))),
  ...[6, 7, 9].map((length) =>
    connectionError('6.7', `PING of ${length} bytes`, FRAME_SIZE_ERROR, raw(PING, 0, 0, filled(length))),
  ),
  connectionError('6.8', 'GOAWAY on a stream', PROTOCOL_ERROR, open, raw(GOAWAY, 0, 1, u32(0), u32(0))),
  connectionError('6.8', 'GOAWAY shorter than 8', FRAME_SIZE_ERROR, open, raw(GOAWAY, 0, 0, filled(7))),
  {
    section: '6.8',
    must: 'GOAWAY may say more, with any code: the streams that there are finish',
    send: [open, goaway(0, 0xbeef, 'debug data'), data(1, '', END_STREAM), ended(1)],
    verdict: { goaway: 0 },
  },
  connectionError(
    '6.10',
    'CONTINUATION on stream 0',
    PROTOCOL_ERROR,
    headers(1, get, END_STREAM),
    raw(CONTINUATION, END_HEADERS, 0, get),
  ),
  {
    section: '6.10',
    must: 'CONTINUATION of several follow HEADERS',
    send: [headers(1, parts[0], END_STREAM), raw(CONTINUATION, 0, 1, parts[1]), raw(CONTINUATION, END_HEADERS, 1)],
    verdict: { status: 200 },
  },
  {
    section: '6.10',
    must: 'END_STREAM of HEADERS holds behind CONTINUATION',
    send: [headers(1, get.subarray(0, 3), END_STREAM), raw(CONTINUATION, END_HEADERS, 1, get.subarray(3))],
    verdict: { status: 200 },
  },
  ...(
    [
      ['DATA', data(1, 'x')],
      ['PING', ping('12345678')],
      ['SETTINGS', settings()],
      ['WINDOW_UPDATE', windowUpdate(0, 1)],
      ['RST_STREAM', reset(1)],
      ['CONTINUATION of another stream', raw(CONTINUATION, END_HEADERS, 3)],
    ] as const
  ).map(([name, between]) =>
    connectionError(
      '6.10',
      `${name} between HEADERS and CONTINUATION`,
      PROTOCOL_ERROR,
      headers(1, get, END_STREAM),
      between,
    ),
  ),
  ...(
    [
      ['nothing', []],
      ['HEADERS that ended their block', [headers(1, hold)]],
      ['CONTINUATION that ended it', [headers(1, hold, END_STREAM), raw(CONTINUATION, END_HEADERS, 1)]],
      ['DATA', [open, data(1, 'x')]],
    ] as [string, Buffer[]][]
  ).map(([name, before]) =>
    connectionError(
      '6.10',
      `CONTINUATION behind ${name}`,
      PROTOCOL_ERROR,
      ...before,
      raw(CONTINUATION, END_HEADERS, 1, hex('82')),
    ),
  ),
];

const settingsFrame: Case[] = [
  connectionError('6.5', 'an acknowledgement with a payload', FRAME_SIZE_ERROR, raw(SETTINGS, ACK, 0, filled(6))),
  connectionError('6.5', 'SETTINGS on a stream', PROTOCOL_ERROR, raw(SETTINGS, 0, 1)),
  connectionError('6.5', 'SETTINGS of no multiple of 6 bytes', FRAME_SIZE_ERROR, raw(SETTINGS, 0, 0, filled(7))),
  connectionError(
    '6.9',
    'WINDOW_UPDATE of another length than 4',
    FRAME_SIZE_ERROR,
    raw(WINDOW_UPDATE, 0, 0, filled(3)),
  ),
];

checkServer([...starting, ...format, ...dataAndHeaders, ...control, ...settingsFrame]);
