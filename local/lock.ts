/** One process at a time: a file that names the one at work. That of a process that is gone counts for nothing. */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { identify, isAlive, type ProcessIdentity } from './process.ts';

/** A file without content is one that is being written, unless it has been so for this long. */
const writtenMs = 2_000;
const askMs = 10;

/** @throws what `busy` makes, where another process holds it */
export async function withLock<T>(
  file: string,
  work: () => Promise<T> | T,
  busy: (holder: number) => Error,
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
  while (!take(file)) {
    const holder = read(file);
    if (holder === 'unwritten') await wait(askMs);
    else if (holder && isAlive(holder)) throw busy(holder.pid);
    else rmSync(file, { force: true });
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function take(file: string): boolean {
  try {
    writeFileSync(file, JSON.stringify(identify(process.pid)), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** undefined where it is gone, or holds nothing of use. */
function read(file: string): ProcessIdentity | 'unwritten' | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    if (text === '' && Date.now() - statSync(file).mtimeMs < writtenMs) return 'unwritten';
    return JSON.parse(text) as ProcessIdentity;
  } catch {
    return undefined;
  }
}
