/**
 * Gives memory back that a process which goes on needs no more: pages that its start read, once, and what the C library keeps
 * free between what is used. It does so until told, and V8 compiles in such memory: 8 MB and more in the first seconds of a
 * load, which a proxy would keep for good.
 */
import { trimFree } from './reclaim.ts';
import { releaseStartPages } from './start-pages.ts';

/** Between two looks, milliseconds. Behind the first of them a proxy has its certificate and has carried its first requests. */
export const lookEveryMs = 5_000;
/** Resident memory that has come since the last search, and is worth another of a millisecond or a few. */
export const worthBytes = 4 << 20;

interface Log {
  debug(message: string, fields: Record<string, string | number>): void;
  warn(message: string, fields: Record<string, string | number>): void;
}

/** What a look asks and does; in tests something else. */
const own = { resident: () => process.memoryUsage.rss(), trim: trimFree, releaseStartPages };

/**
 * Begins to look; the timer keeps no process alive. A look that fails is a warning, and the next comes: where no file
 * descriptor is left, it cannot read.
 */
export function giveBackMemory(log: Log, parts = own): NodeJS.Timeout {
  let started = false;
  let least = 0;
  const look = (): void => {
    if (!started) {
      started = true;
      const megabytes = Math.round(parts.releaseStartPages() / 2 ** 20);
      log.debug('pages of the start given back', { megabytes });
    }
    const held = parts.resident();
    least = Math.min(least, held);
    if (held - least < worthBytes) return;
    parts.trim();
    least = parts.resident();
  };
  return setInterval(() => {
    try {
      look();
    } catch (error) {
      log.warn('memory not given back', { why: (error as Error).message });
    }
  }, lookEveryMs).unref();
}
