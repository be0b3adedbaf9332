import { expect, onTestFinished, test, vi } from 'vitest';
import { giveBackMemory, lookEveryMs, worthBytes } from './give-back.ts';
import { release, trimFree } from './reclaim.ts';

/** A process that holds `used` and `spare`, the second of which can be given back. */
function watch() {
  vi.useFakeTimers();
  const held = { used: 40 << 20, spare: 0, fails: false };
  const seen = { starts: 0, trims: 0, warnings: [] as (string | number | undefined)[] };
  const log = {
    debug: () => {},
    warn: (_message: string, { why }: Record<string, string | number>) => seen.warnings.push(why),
  };
  const timer = giveBackMemory(log, {
    resident: () => {
      if (held.fails) throw new Error('EMFILE');
      return held.used + held.spare;
    },
    trim: () => {
      seen.trims++;
      held.spare = 0;
    },
    releaseStartPages: () => {
      seen.starts++;
      return 0;
    },
  });
  onTestFinished(() => {
    clearInterval(timer);
    vi.useRealTimers();
  });
  return { timer, held, seen };
}

test('a process that has grown gives back what is spare, and one that has not does nothing', () => {
  const { timer, held, seen } = watch();
  expect(timer.hasRef()).toBe(false);
  const trimsWith = (more: { used?: number; spare?: number }): number => {
    held.used += more.used ?? 0;
    held.spare += more.spare ?? 0;
    vi.advanceTimersByTime(lookEveryMs);
    return seen.trims;
  };
  expect(trimsWith({})).toBe(1);
  expect(trimsWith({})).toBe(1);
  expect(trimsWith({ spare: worthBytes - 1 })).toBe(1);
  expect(trimsWith({ spare: 1 })).toBe(2);
  expect(held.spare).toBe(0);
  // What is needed is not searched again and again.
  expect(trimsWith({ used: worthBytes })).toBe(3);
  expect(trimsWith({})).toBe(3);
  // Smaller again, it grows from there.
  expect(trimsWith({ used: -worthBytes })).toBe(3);
  expect(trimsWith({ spare: worthBytes })).toBe(4);
  expect(seen).toMatchObject({ starts: 1, warnings: [] });
});

test('a look that fails is told, and the next comes', () => {
  const { held, seen } = watch();
  held.fails = true;
  vi.advanceTimersByTime(lookEveryMs);
  held.fails = false;
  vi.advanceTimersByTime(lookEveryMs);
  expect(seen).toEqual({ starts: 1, trims: 1, warnings: ['EMFILE'] });
});

test('what is free between what is used is given back', () => {
  const pieces = Array.from({ length: 8_000 }, () => Buffer.allocUnsafeSlow(8 << 10).fill(1));
  // One in a hundred stays, so that none of the memory ends with what is free.
  const kept = pieces.filter((piece, i) => {
    if (i % 100 === 0) return true;
    release(piece);
    return false;
  });
  const before = process.memoryUsage.rss();
  trimFree();
  expect(before - process.memoryUsage.rss()).toBeGreaterThan(30 << 20);
  expect(kept.every((piece) => piece.every((byte) => byte === 1))).toBe(true);
});
