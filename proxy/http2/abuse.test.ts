/** What a server says to peers that break RFC 9113 or mean harm: a code of its section 7, and the end. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { FrameReader } from './frame-reader.ts';
import { errorCode, flag, frame, preface, setting, settingsPayload, shortFrame, uint32 } from './frames.ts';
import { encodeHeaders } from './hpack-encoder.ts';
import { Http2Session } from './session.ts';
import { byteStream } from './stream.ts';

const settings = { streamWindow: 100_000, connectionWindow: 200_000, maxStreams: 10, maxHeaderListBytes: 8_192 };
const within = { timeout: 10_000 };
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

const none = Buffer.alloc(0);
const head = encodeHeaders([':method', 'POST', ':scheme', 'http', ':authority', 'test', ':path', '/']);
const hello = Buffer.concat([preface, shortFrame(frame.settings, 0, 0, none)]);
const begin = (id: number, flags: number = flag.endHeaders) => shortFrame(frame.headers, flags, id, head);
const many = (count: number, one: (i: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, i) => one(i)));
const idOf = (i: number) => 2 * i + 1;

interface Heard {
  /** Code of GOAWAY; undefined without one. */
  goaway: number | undefined;
  /** Codes of resets, by stream. */
  resets: Map<number, number>;
}

/** Sends bytes to a server whose streams nobody reads; what it says until it ends or is quiet. */
async function send(bytes: Buffer): Promise<{ heard: Heard; socket: Socket; begun: { count: number } }> {
  const begun = { count: 0 };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    new Http2Session(socket, {
      role: 'server',
      settings,
      makeStream: byteStream,
      onStream: (stream) => {
        begun.count++;
        stream.on('error', () => {});
      },
      onClose: () => {},
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  cleanup.push(() => {
    socket.destroy();
    server.close();
  });
  const heard: Heard = { goaway: undefined, resets: new Map() };
  const reader = new FrameReader(false, {
    onDataHead: () => {},
    onPadding: () => {},
    onData: () => {},
    onFrame(type, _flags, stream, payload) {
      if (type === frame.goaway) heard.goaway = payload.readUInt32BE(4);
      if (type === frame.rstStream) heard.resets.set(stream, payload.readUInt32BE(0));
    },
    onBreach: () => {},
  });
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => reader.push(chunk));
  socket.write(bytes);
  return { heard, socket, begun };
}

const bomb = Buffer.concat([
  Buffer.from([0x40, 1, 97, 0x7f, 0xd1, 0x0e]),
  Buffer.alloc(2000, 120),
  Buffer.alloc(6000, 0xbe),
]);

test.each<[string, number, Buffer]>([
  ['another protocol', errorCode.protocolError, Buffer.from('GET / HTTP/1.1\r\nhost: test\r\n\r\n')],
  ['no settings first', errorCode.protocolError, Buffer.concat([preface, begin(1)])],
  [
    'a frame larger than 16 KiB',
    errorCode.frameSizeError,
    Buffer.concat([hello, shortFrame(0, 0, 1, Buffer.alloc(16_385))]),
  ],
  ['DATA on stream 0', errorCode.protocolError, Buffer.concat([hello, shortFrame(frame.data, 0, 0, none)])],
  ['DATA before HEADERS', errorCode.protocolError, Buffer.concat([hello, shortFrame(frame.data, 0, 1, none)])],
  ['HEADERS on stream 0', errorCode.protocolError, Buffer.concat([hello, begin(0)])],
  ['a stream of the server’s number', errorCode.protocolError, Buffer.concat([hello, begin(2)])],
  ['a stream lower than one before', errorCode.protocolError, Buffer.concat([hello, begin(5), begin(3)])],
  ['HEADERS behind the end', errorCode.streamClosed, Buffer.concat([hello, begin(1, 5), begin(1)])],
  [
    'a block interrupted',
    errorCode.protocolError,
    Buffer.concat([hello, begin(1, 0), shortFrame(frame.ping, 0, 0, Buffer.alloc(8))]),
  ],
  [
    'a block interrupted by DATA',
    errorCode.protocolError,
    Buffer.concat([hello, begin(1, 0), shortFrame(frame.data, 0, 1, none)]),
  ],
  [
    'CONTINUATION of nothing',
    errorCode.protocolError,
    Buffer.concat([hello, shortFrame(frame.continuation, 4, 1, none)]),
  ],
  [
    'CONTINUATION without end',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, begin(1, 0), many(20, () => shortFrame(frame.continuation, 0, 1, none))]),
  ],
  [
    'a block without end',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, begin(1, 0), many(3, () => shortFrame(frame.continuation, 0, 1, Buffer.alloc(16_000)))]),
  ],
  [
    'a malformed block',
    errorCode.compressionError,
    Buffer.concat([hello, shortFrame(frame.headers, 4, 1, Buffer.from([0x80]))]),
  ],
  [
    'padding longer than its frame',
    errorCode.protocolError,
    Buffer.concat([hello, begin(1), shortFrame(frame.data, flag.padded, 1, Buffer.from([9, 0]))]),
  ],
  [
    'padded HEADERS cut short',
    errorCode.frameSizeError,
    Buffer.concat([hello, shortFrame(frame.headers, flag.padded | 4, 1, none)]),
  ],
  [
    'RST_STREAM of a stream that is not',
    errorCode.protocolError,
    Buffer.concat([hello, shortFrame(frame.rstStream, 0, 1, uint32(8))]),
  ],
  [
    'RST_STREAM of a wrong size',
    errorCode.frameSizeError,
    Buffer.concat([hello, begin(1), shortFrame(frame.rstStream, 0, 1, none)]),
  ],
  [
    'SETTINGS of a wrong size',
    errorCode.frameSizeError,
    Buffer.concat([hello, shortFrame(frame.settings, 0, 0, Buffer.alloc(5))]),
  ],
  ['SETTINGS on a stream', errorCode.protocolError, Buffer.concat([hello, shortFrame(frame.settings, 0, 1, none)])],
  [
    'a window larger than 2^31-1',
    errorCode.flowControlError,
    Buffer.concat([hello, shortFrame(frame.settings, 0, 0, settingsPayload([setting.initialWindowSize, 2 ** 31]))]),
  ],
  [
    'a frame size that may not be',
    errorCode.protocolError,
    Buffer.concat([hello, shortFrame(frame.settings, 0, 0, settingsPayload([setting.maxFrameSize, 100]))]),
  ],
  [
    'PING of a wrong size',
    errorCode.frameSizeError,
    Buffer.concat([hello, shortFrame(frame.ping, 0, 0, Buffer.alloc(7))]),
  ],
  [
    'GOAWAY of a wrong size',
    errorCode.frameSizeError,
    Buffer.concat([hello, shortFrame(frame.goaway, 0, 0, Buffer.alloc(7))]),
  ],
  [
    'PUSH_PROMISE',
    errorCode.protocolError,
    Buffer.concat([hello, shortFrame(frame.pushPromise, 4, 1, Buffer.alloc(4))]),
  ],
  [
    'WINDOW_UPDATE of nothing',
    errorCode.protocolError,
    Buffer.concat([hello, shortFrame(frame.windowUpdate, 0, 0, uint32(0))]),
  ],
  [
    'a connection’s window that overflows',
    errorCode.flowControlError,
    Buffer.concat([hello, shortFrame(frame.windowUpdate, 0, 0, uint32(2 ** 31 - 1))]),
  ],
  [
    'WINDOW_UPDATE of a stream that is not',
    errorCode.protocolError,
    Buffer.concat([hello, shortFrame(frame.windowUpdate, 0, 3, uint32(1))]),
  ],
  [
    'streams reset as fast as they begin',
    errorCode.enhanceYourCalm,
    Buffer.concat([
      hello,
      many(2_000, (i) => Buffer.concat([begin(idOf(i)), shortFrame(frame.rstStream, 0, idOf(i), uint32(8))])),
    ]),
  ],
  [
    'more streams than may be, without end',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, many(2_000, (i) => begin(idOf(i)))]),
  ],
  [
    'PING flood',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, many(6_000, () => shortFrame(frame.ping, 0, 0, Buffer.alloc(8)))]),
  ],
  [
    'SETTINGS flood',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, many(6_000, () => shortFrame(frame.settings, 0, 0, none))]),
  ],
  [
    'PRIORITY flood',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, many(6_000, () => shortFrame(frame.priority, 0, 1, Buffer.alloc(5)))]),
  ],
  [
    'empty DATA flood',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, begin(1), many(6_000, () => shortFrame(frame.data, 0, 1, none))]),
  ],
  [
    'flood of unknown frames',
    errorCode.enhanceYourCalm,
    Buffer.concat([hello, many(6_000, () => shortFrame(99, 0, 0, none))]),
  ],
])('the connection ends: %s', async (_, code, bytes) => {
  const { heard, socket } = await send(bytes);
  await vi.waitFor(() => expect(heard.goaway).toBe(code), within);
  if (!socket.destroyed) await once(socket, 'close');
});

test.each<[string, number, Buffer]>([
  [
    'more DATA than the stream allows',
    errorCode.flowControlError,
    many(7, () => shortFrame(frame.data, 0, 1, Buffer.alloc(16_000))),
  ],
  [
    'a stream’s window that overflows',
    errorCode.flowControlError,
    shortFrame(frame.windowUpdate, 0, 1, uint32(2 ** 31 - 1)),
  ],
  ['WINDOW_UPDATE of nothing', errorCode.protocolError, shortFrame(frame.windowUpdate, 0, 1, uint32(0))],
])('the stream alone ends: %s', async (_, code, bytes) => {
  const { heard } = await send(Buffer.concat([hello, begin(1), bytes]));
  await vi.waitFor(() => expect(heard.resets.get(1)).toBe(code), within);
  expect(heard.goaway).toBeUndefined();
});

test('a header list that grows in decoding is refused, and costs no more than its bound', async () => {
  const { heard, begun } = await send(Buffer.concat([hello, shortFrame(frame.headers, 4, 1, bomb), begin(3)]));
  await vi.waitFor(() => expect(heard.resets.get(1)).toBe(errorCode.enhanceYourCalm));
  await vi.waitFor(() => expect(begun.count).toBe(1));
});

test('padded DATA and HEADERS with priority are read', async () => {
  const headers = shortFrame(
    frame.headers,
    4 | flag.padded | flag.priority,
    1,
    Buffer.concat([Buffer.from([2]), Buffer.alloc(5), head, Buffer.alloc(2)]),
  );
  const data = shortFrame(frame.data, flag.padded, 1, Buffer.from([3, 104, 105, 0, 0, 0]));
  const { heard, begun } = await send(
    Buffer.concat([hello, headers, data, shortFrame(frame.ping, 0, 0, Buffer.alloc(8))]),
  );
  await vi.waitFor(() => expect(begun.count).toBe(1));
  expect(heard).toEqual({ goaway: undefined, resets: new Map() });
});

test('any split of the bytes gives the same frames', () => {
  const bytes = Buffer.concat([
    begin(1),
    shortFrame(frame.data, 0, 1, Buffer.from('hello, ')),
    shortFrame(frame.data, flag.padded, 1, Buffer.from([1, 119, 0])),
    shortFrame(frame.data, flag.endStream, 1, Buffer.from('orld')),
    shortFrame(frame.data, 0, 3, none),
    shortFrame(frame.windowUpdate, 0, 0, uint32(7)),
  ]);
  const read = (chunks: Buffer[]) => {
    const seen: string[] = [];
    let text = '';
    const reader = new FrameReader(false, {
      onDataHead: (stream, length) => seen.push(`data ${stream} ${length}`),
      onPadding: (stream, length) => seen.push(`padding ${stream} ${length}`),
      onData(stream, content, end) {
        text += content;
        if (end) seen.push(`end ${stream}`);
      },
      onFrame: (type, flags, stream, payload) => seen.push(`${type} ${flags} ${stream} ${payload.toString('hex')}`),
      onBreach: ({ message }) => seen.push(message),
    });
    for (const chunk of chunks) reader.push(chunk);
    return { seen, text };
  };
  const whole = read([bytes]);
  expect(whole.text).toBe('hello, world');
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 12 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      expect(read(places.slice(1).map((end, i) => bytes.subarray(places[i]!, end)))).toEqual(whole);
    }),
  );
});
