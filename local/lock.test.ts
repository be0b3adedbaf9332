import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withLock } from './lock.ts';
import { identify } from './process.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lock = () => join(folder, 'new/lock');
const take = () =>
  withLock(
    lock(),
    () => 'done',
    (holder) => new Error(`held by ${holder}`),
  );
const own = () => JSON.stringify(identify(process.pid));

test('is held during the work, and free after it, however it ends', async () => {
  const inside = withLock(
    lock(),
    async () => {
      await expect(take()).rejects.toThrow(`held by ${process.pid}`);
      throw new Error('the work failed');
    },
    () => new Error('held'),
  );
  await expect(inside).rejects.toThrow('the work failed');
  expect(existsSync(lock())).toBe(false);
  expect(await take()).toBe('done');
});

test('of a process that is gone, or of no process at all, counts for nothing', async () => {
  for (const text of [JSON.stringify({ ...identify(process.pid), start: '1' }), 'no JSON']) {
    await take();
    writeFileSync(lock(), text);
    expect(await take()).toBe('done');
  }
});

test('that another process is just writing is not taken from it', async () => {
  await take();
  writeFileSync(lock(), '');
  setTimeout(() => writeFileSync(lock(), own()), 50);
  await expect(take()).rejects.toThrow(`held by ${process.pid}`);
});

test('that nobody wrote for long was left by a process that died', async () => {
  await take();
  writeFileSync(lock(), '');
  expect(await take()).toBe('done');
});
