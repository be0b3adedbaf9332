import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { smallBlocks } from '../net/write-blocks.ts';
import { FrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { errorCode, frame, frameHeaderBytes, maxFrameBytes } from './frames.ts';

/** A socket that takes each write when it is told to, and what it was given. */
function slowSocket() {
  const writes: Buffer[] = [];
  const waiting: (() => void)[] = [];
  const socket = new Writable({
    highWaterMark: 1 << 20,
    write: (chunk: Buffer, _encoding, done) => {
      writes.push(Buffer.from(chunk));
      waiting.push(done);
    },
  });
  /** Takes all there is, until nothing comes any more. */
  const take = async (): Promise<void> => {
    for (let idle = 0; idle < 3; idle++) {
      await new Promise((resolve) => setImmediate(resolve));
      while (waiting.length > 0) {
        waiting.shift()!();
        idle = 0;
      }
    }
  };
  return { socket: socket as never, writes, waiting, take };
}

/** Content of DATA frames and types of the others, as a peer reads them. */
function read(bytes: Buffer) {
  const content: Buffer[] = [];
  const frames: { type: number; length: number }[] = [];
  const reader = new FrameReader(false, {
    onDataHead: () => {},
    onPadding: () => {},
    onData: (_stream, chunk) => content.push(Buffer.from(chunk)),
    onFrame: (type, _flags, _stream, payload) => frames.push({ type, length: payload.length }),
    onBreach: (breach) => {
      throw new Error(breach.message);
    },
  });
  reader.push(bytes);
  return { content: Buffer.concat(content), frames };
}

test('small blocks are written one after the other, none larger than a block, and nothing is lost', async () => {
  const { socket, writes, waiting, take } = slowSocket();
  let drained = 0;
  const writer = new FrameWriter(socket, () => drained++, smallBlocks);
  const payload = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index % 251));
  writer.frame(frame.data, 0, 1, payload);
  for (let i = 0; i < 100; i++) writer.frame(frame.data, 0, 1, Buffer.from([i]));
  expect(writer.blocked).toBe(true);
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  expect(waiting).toHaveLength(1);
  await take();
  expect(Math.max(...writes.map((one) => one.length))).toBeLessThanOrEqual(smallBlocks.bytes);
  expect(read(Buffer.concat(writes)).content).toEqual(
    Buffer.concat([payload, Buffer.from(Array.from({ length: 100 }, (_, index) => index))]),
  );
  expect(drained).toBe(1);
  expect(writer.blocked).toBe(false);
  expect(writer.unsent).toBe(0);
});

test('a frame that cannot be cut goes out whole, however small the blocks are', async () => {
  const { socket, writes, take } = slowSocket();
  const writer = new FrameWriter(socket, () => {}, smallBlocks);
  writer.frame(frame.goaway, 0, 0, Buffer.alloc(8, errorCode.noError));
  writer.headers(1, Buffer.alloc(maxFrameBytes + 5_000), false);
  await take();
  expect(read(Buffer.concat(writes)).frames).toEqual([
    { type: frame.goaway, length: 8 },
    { type: frame.headers, length: maxFrameBytes },
    { type: frame.continuation, length: 5_000 },
  ]);
  expect(writes.map((one) => one.length)).toEqual([
    frameHeaderBytes + 8,
    frameHeaderBytes + maxFrameBytes,
    frameHeaderBytes + 5_000,
  ]);
});
