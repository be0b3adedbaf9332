import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { frame, frameHeaderBytes, maxFrameBytes } from './frames.ts';
import { messageStream } from './message-stream.ts';
import { SendFlow } from './send-flow.ts';
import type { StreamOwner } from './session-stream.ts';
import { byteStream } from './stream.ts';
import { StreamTable } from './stream-table.ts';

const recordBytes = 16_384;

/** A writer, and what it wrote: per write to the system, all pieces together, as TLS cuts them into records. */
function recording() {
  const writes: Buffer[] = [];
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(Buffer.from(chunk));
      setImmediate(done);
    },
    writev(chunks, done) {
      writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)));
      setImmediate(done);
    },
  });
  return { writer: new FrameWriter(socket, () => {}), writes };
}

const frameLengths = (bytes: Buffer): number[] => {
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length; at += frameHeaderBytes + lengths.at(-1)!) lengths.push(bytes.readUIntBE(at, 3));
  return lengths;
};

async function written(chunks: Buffer[]): Promise<Buffer[]> {
  const { writer, writes } = recording();
  for (const chunk of chunks) writer.frame(frame.data, 0, 1, chunk);
  await expect.poll(() => writer.unsent, { interval: 1 }).toBe(0);
  return writes;
}

test('a read of 64 KiB makes as few frames as records allow', async () => {
  const { writer, writes } = recording();
  const flow = new SendFlow(writer, new StreamTable(), 'server');
  flow.widen(1 << 20);
  const chunk = Buffer.alloc(64 << 10);
  expect(flow.send(byteStream({} as StreamOwner, 1, 1 << 20, 0), chunk, false)).toBe(chunk.length);
  await expect.poll(() => writer.unsent, { interval: 1 }).toBe(0);
  const inRecord = recordBytes - frameHeaderBytes;
  expect(frameLengths(writes[0]!)).toEqual([inRecord, inRecord, inRecord, inRecord, 4 * frameHeaderBytes]);
});

test('what is read while much is unsent has room in the frames, up to a bound; whoever sent it hears when to go on', async () => {
  let done = () => {};
  const socket = new Duplex({
    read() {},
    write(_chunk, _encoding, callback) {
      done = callback;
    },
    writev(_chunks, callback) {
      done = callback;
    },
  });
  const writer = new FrameWriter(socket, () => flow.pump());
  const flow: SendFlow = new SendFlow(writer, new StreamTable(), 'server');
  flow.widen(64 << 20);
  const owner = {
    sendData: (stream, chunk, end) => flow.send(stream, chunk, end),
    waitsForWindow: (stream) => flow.wait(stream),
    get blocked() {
      return flow.blocked;
    },
  } as StreamOwner;
  const chunk = Buffer.alloc(64 << 10);
  const streams = Array.from({ length: 30 }, (_, i) => byteStream(owner, 2 * i + 1, 1 << 20, 0));
  const drained = new Set<number>();
  for (const one of streams) one.on('drain', () => drained.add(one.id));
  const open = streams.map((one) => one.write(chunk));
  const queued = streams.map(({ queuedBytes }) => queuedBytes);
  // 256 KiB with their headers before they are told to wait, 512 before what they have said waits too.
  expect(open.filter(Boolean)).toHaveLength(3);
  expect(queued.slice(0, 8).every((bytes) => bytes === 0)).toBe(true);
  expect(queued.slice(8).every((bytes) => bytes === chunk.length)).toBe(true);
  await new Promise((resolve) => setImmediate(resolve));
  // A part is on its way; beyond 1 MiB the session would take its peer for one that does not read.
  for (const one of streams) one.write(chunk);
  expect(socket.writableLength).toBeGreaterThan(0);
  expect(writer.unsent).toBeLessThan(1 << 20);
  for (let i = 0; i < 100 && drained.size < 27; i++) {
    done();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect([...drained].sort((a, b) => a - b)).toEqual(streams.slice(3).map(({ id }) => id));
  expect(streams.every(({ queuedBytes }) => queuedBytes === 0)).toBe(true);
});

test('the end of a message that has nothing more to say does not wait for a busy connection, its content does', () => {
  const said: [number, boolean][] = [];
  const owner: Partial<StreamOwner> = {
    blocked: true,
    sendData(_stream, chunk, end) {
      said.push([chunk.length, end]);
      return chunk.length;
    },
    waitsForWindow: () => said.push([-1, false]),
  };
  const stream = messageStream(owner as StreamOwner, 1, 1 << 20, 0);
  expect(stream.sendData(Buffer.alloc(0), true)).toBe(0);
  expect(said).toEqual([[0, true]]);
  const other = messageStream(owner as StreamOwner, 3, 1 << 20, 0);
  expect(other.sendData(Buffer.alloc(9), true)).toBe(0);
  expect(said.slice(1)).toEqual([[-1, false]]);
  other.pump();
  expect(said.slice(2)).toEqual([[9, true]]);
});

test('records end where frames end, however content comes, and all of it arrives', async () => {
  const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 80_000 }), fc.constant(64 << 10)), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(sizes, async (lengths) => {
      const chunks = lengths.map((length, i) => Buffer.alloc(length, i + 1));
      const writes = await written(chunks);
      for (const bytes of writes) {
        let at = 0;
        for (const length of frameLengths(bytes)) {
          expect(length).toBeLessThanOrEqual(maxFrameBytes);
          const content = at + frameHeaderBytes;
          expect(length).toBeLessThanOrEqual(recordBytes - (content % recordBytes));
          at = content + length;
        }
      }
      const read: Buffer[] = [];
      const reader = new FrameReader(false, {
        onDataHead() {},
        onPadding() {},
        onData: (_stream, content) => void read.push(Buffer.from(content)),
        onFrame() {},
        onBreach: ({ message }) => expect.unreachable(message),
      });
      for (const bytes of writes) reader.push(bytes);
      expect(Buffer.concat(read).equals(Buffer.concat(chunks))).toBe(true);
    }),
    { numRuns: 50, examples: [[[65_400, 30_000]], [[16_370, 40_000]]] },
  );
});
