import { describe, expect, test } from 'vitest';
import { isShared, owned, partOf, shareReads } from './shared-reads.ts';
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

  test('a part is that of the present read, and no new object where the one before will do', async () => {
    const { reader, writer } = await pair();
    const parts: Buffer[] = [];
    const texts: string[] = [];
    reader.on('data', (bytes: Buffer) => {
      for (const [start, end] of [
        [1, 3],
        [1, 3],
        [1, 4],
        [0, 2],
      ]) {
        parts.push(partOf(bytes, start!, end!));
        texts.push(parts.at(-1)!.toString());
        expect(isShared(parts.at(-1)!)).toBe(true);
        expect(owned(parts.at(-1)!).toString()).toBe(texts.at(-1));
      }
    });
    reader.resume();
    writer.write('abcde');
    await expect.poll(() => texts).toEqual(['bc', 'bc', 'bcd', 'ab']);
    expect(parts[1]).toBe(parts[0]);
    expect(parts[2]).not.toBe(parts[1]);
    writer.write('fghij');
    await expect.poll(() => texts.slice(4)).toEqual(['gh', 'gh', 'ghi', 'fg']);
    // Bytes of anybody's own have parts of their own.
    const own = Buffer.from('klmno');
    expect(partOf(own, 0, 2).toString()).toBe('kl');
    expect(isShared(partOf(own, 0, 2))).toBe(false);
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
