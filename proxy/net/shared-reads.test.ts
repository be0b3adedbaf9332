import { describe, expect, test } from 'vitest';
import { isShared, owned, shareReads } from './shared-reads.ts';
import { connectionPair } from './test-connection.ts';

/** Both ends of a connection; what `reader` reads is shared. */
async function pair() {
  const { socket: writer, peer: reader } = await connectionPair({ pauseOnConnect: true, allowHalfOpen: true });
  shareReads(reader);
  return { reader, writer };
}

describe('shared reads', () => {
  test('this Node has them', async () => {
    const { reader, writer } = await pair();
    const shared = new Promise((resolve) => reader.on('data', (bytes: Buffer) => resolve(isShared(bytes))));
    writer.write('hello');
    reader.resume();
    expect(await shared).toBe(true);
  });

  test("what is kept is a copy, and what is anybody's own is not copied", async () => {
    const { reader, writer } = await pair();
    let read: Buffer | undefined;
    let kept: Buffer | undefined;
    reader.on('data', (bytes: Buffer) => {
      read ??= bytes;
      kept ??= owned(bytes);
    });
    reader.resume();
    writer.write('first');
    await expect.poll(() => kept?.toString()).toBe('first');
    writer.write('other');
    await expect.poll(() => read?.toString()).not.toBe('first');
    expect(kept?.toString()).toBe('first');
    expect(owned(kept!)).toBe(kept);
  });

  test('what comes while nobody reads waits, in order, with the end behind it', async () => {
    const { reader, writer } = await pair();
    reader.unshift(Buffer.from('0,'));
    writer.write('1,');
    let text = '';
    let ended = false;
    reader.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      if (text === '0,1,') {
        reader.pause();
        writer.end('2', () => reader.resume());
      }
    });
    reader.on('end', () => {
      ended = true;
    });
    reader.resume();
    await expect.poll(() => ended).toBe(true);
    expect(text).toBe('0,1,2');
  });

  test('a paused connection is not read at all: its writer is held back', async () => {
    const { reader, writer } = await pair();
    reader.on('data', () => reader.pause());
    reader.resume();
    const chunk = Buffer.alloc(1 << 20);
    for (let i = 0; i < 32; i++) writer.write(chunk);
    await expect.poll(() => reader.bytesRead).toBeGreaterThan(0);
    await expect.poll(() => writer.writableLength).toBeGreaterThan(8 << 20);
    expect(reader.bytesRead).toBeLessThanOrEqual(64 << 10);
    expect(reader.readableLength).toBe(0);
  });
});
