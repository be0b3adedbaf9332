import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect, test, vi } from 'vitest';
import { isShared, shareReads } from './shared-reads.ts';
import { connectionPair } from './test-connection.ts';
import { endTogether, writeTogether } from './write-together.ts';

/** A connection, what its peer has read, and the writes that reached the system, each as its pieces. */
async function watched() {
  const { socket, peer } = await connectionPair();
  const writes: string[][] = [];
  const { _write, _writev } = socket;
  vi.spyOn(socket, '_write').mockImplementation((chunk: Buffer, encoding, done) => {
    writes.push([chunk.toString()]);
    _write.call(socket, chunk, encoding, done);
  });
  vi.spyOn(socket, '_writev').mockImplementation((chunks, done) => {
    writes.push(chunks.map(({ chunk }) => String(chunk)));
    _writev!.call(socket, chunks, done);
  });
  let read = '';
  peer.on('data', (chunk: Buffer) => {
    read += chunk;
  });
  return { socket, peer, writes, arrived: (text: string) => expect.poll(() => read).toBe(text) };
}

const write = (socket: Socket, text: string, more: boolean) => writeTogether(socket, Buffer.from(text), more);

test('pieces that others are sure to follow go out together, at the end of the turn', async () => {
  const { socket, writes, arrived } = await watched();
  for (const text of ['a', 'b', 'c']) write(socket, text, true);
  expect(writes).toEqual([]);
  await arrived('abc');
  expect(writes).toEqual([['a', 'b', 'c']]);
  write(socket, 'd', true);
  await arrived('abcd');
});

test('the last piece goes out at once, behind those that were held; so does what follows in the same turn', async () => {
  const { socket, writes, arrived } = await watched();
  write(socket, 'a', true);
  write(socket, 'b', false);
  expect(writes).toEqual([['a', 'b']]);
  write(socket, 'c', false);
  write(socket, 'd', true);
  await arrived('abcd');
  expect(writes.flat()).toEqual(['a', 'b', 'c', 'd']);
});

test('an end takes along what was held', async () => {
  const { socket, arrived } = await watched();
  write(socket, 'a', true);
  endTogether(socket);
  await arrived('a');
  expect(socket.writableFinished).toBe(true);
});

/** Has one connection read `content` by shared reads. */
async function sharedRead(content: Buffer, onRead: (bytes: Buffer) => void): Promise<void> {
  const { socket, peer } = await watched();
  peer.removeAllListeners('data').pause();
  shareReads(peer);
  peer.on('data', onRead).resume();
  socket.write(content);
}

test('pieces of a shared read are written as one, behind the small ones before them, and an end takes them along', async () => {
  const to = await watched();
  const content = Buffer.from('0123456789abcdef'.repeat(3 << 10));
  const small = content.subarray(0, 100).toString();
  let left = content.length;
  await sharedRead(content, (bytes) => {
    writeTogether(to.socket, bytes.subarray(0, 100), true);
    for (let at = 0; at < bytes.length; at += 16 << 10)
      writeTogether(to.socket, bytes.subarray(at, at + (16 << 10)), true);
    left -= bytes.length;
    if (left === 0) endTogether(to.socket);
  });
  await to.arrived(small + content.toString());
  expect(to.socket.writableFinished).toBe(true);
  expect(to.writes).toEqual([[small, content.toString()]]);
});

test('a writer that was told to wait hears when it need not, though all went out before its piece was written', async () => {
  const to = await watched();
  let written: () => void = () => {};
  vi.spyOn(to.socket, '_write').mockImplementationOnce((_chunk, _encoding, done) => {
    written = done;
  });
  to.socket.write(Buffer.alloc(60 << 10));
  const drained = once(to.socket, 'drain');
  const open: boolean[] = [];
  await sharedRead(Buffer.alloc(16 << 10), (bytes) => {
    open.push(writeTogether(to.socket, bytes, true));
    written();
  });
  await drained;
  expect(open).toEqual([false]);
  expect(to.socket.writableLength).toBe(0);
});

test('a connection whose writer has to wait tells when it no longer has to', async () => {
  const { socket } = await watched();
  const drained = once(socket, 'drain');
  expect(writeTogether(socket, Buffer.alloc(1 << 20), true)).toBe(false);
  await drained;
  expect(socket.writableLength).toBe(0);
});

test.each([
  ['small', 300],
  ['of a record', 16 << 10],
  ['larger than what is kept together', 100 << 10],
])('pieces of a shared read that are %s are written as they were, however slow the reader', async (_, size) => {
  const from = await watched();
  const to = await watched();
  const content = randomBytes(2 << 20);
  // Its reads are overwritten as soon as they have been told.
  from.peer.removeAllListeners('data').pause();
  shareReads(from.peer);
  to.peer.pause();
  let sent = 0;
  from.peer.on('data', (bytes: Buffer) => {
    expect(isShared(bytes)).toBe(true);
    sent += bytes.length;
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      writeTogether(to.socket, piece, sent < content.length || at + size < bytes.length);
    }
  });
  from.peer.resume();
  from.socket.write(content);
  await expect.poll(() => sent, { timeout: 5_000 }).toBe(content.length);
  const read: Buffer[] = [];
  let length = 0;
  to.peer.removeAllListeners('data').on('data', (bytes: Buffer) => {
    read.push(bytes);
    length += bytes.length;
  });
  to.peer.resume();
  await expect.poll(() => length, { timeout: 5_000 }).toBe(content.length);
  expect(Buffer.concat(read).equals(content)).toBe(true);
});

test.each([
  ['of 500 bytes', 500, 400],
  ['just large enough for a block', 9 << 10, 100],
])('a reader that stops holds about what it was sent, in pieces %s', async (_, size, count) => {
  const from = await watched();
  const to = await watched();
  from.peer.removeAllListeners('data').pause();
  shareReads(from.peer);
  // The system takes nothing.
  vi.spyOn(to.socket, '_write').mockImplementation(() => {});
  vi.spyOn(to.socket, '_writev').mockImplementation(() => {});
  from.peer.on('data', (bytes: Buffer) => void writeTogether(to.socket, bytes, true));
  from.peer.resume();
  const before = process.memoryUsage().external;
  for (let i = 1; i <= count; i++) {
    from.socket.write(Buffer.alloc(size));
    await expect.poll(() => to.socket.writableLength, { interval: 1 }).toBe(i * size);
  }
  expect(process.memoryUsage().external - before).toBeLessThan(4 << 20);
});
