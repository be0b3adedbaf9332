import { getHeapStatistics } from 'node:v8';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { leftBehind } from './reclaim.ts';

const external = () => getHeapStatistics().external_memory;
const interval = 4 << 20;

beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => vi.useRealTimers());

/** Kept through collections of the young, they grow old. */
function keep(): Buffer[] {
  const held = Array.from({ length: 600 }, () => Buffer.alloc(64 << 10));
  for (let i = 0; i < 4; i++) leftBehind(interval);
  return held;
}

test('buffers that have grown old are collected with the next bytes that are kept', async () => {
  const before = external();
  const held = keep();
  expect(external() - before).toBeGreaterThan(30 << 20);
  held.length = 0;
  leftBehind(interval);
  expect(external() - before).toBeGreaterThan(30 << 20);
  vi.advanceTimersByTime(31_000);
  leftBehind(interval);
  // What was found is given back by a thread of V8's.
  vi.useRealTimers();
  await vi.waitFor(() => {
    leftBehind(interval);
    expect(external() - before).toBeLessThan(8 << 20);
  });
});
