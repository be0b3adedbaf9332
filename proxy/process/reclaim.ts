/**
 * Gives back the memory of what was read and kept. Such bytes lie outside the heap, where V8 looks only when 64 MB of them
 * have gathered. Most die at once, so that collecting the young generation alone, early and often, finds them. Those that
 * slow peers have kept long enough to grow old are found by marking the whole heap, and the C library keeps what they leave
 * until it is told to look for it: under a mixed load with slow peers a proxy had 106 MB of its own before both, and 52 at
 * most with them.
 */
import { dlopen } from 'node:ffi';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes between two collections, 0.2 ms each. */
const interval = 4 << 20;
/** So many bytes outside the heap are worth marking it, which takes some 10 ms. */
const oldBytes = 16 << 20;
/** Between two markings, milliseconds: where so much has come since the last, and where it may be what that one had to leave. */
const markEveryMs = 5_000;
const markAgainMs = 30_000;

setFlagsFromString('--expose-gc');
// Left alone, V8 marks the whole of so small a heap ten times a second: 8 ms each in which requests wait. So it begins
// only where the heap has really grown, at these per cents of what it may grow.
setFlagsFromString('--incremental-marking-soft-trigger=90');
setFlagsFromString('--incremental-marking-hard-trigger=95');
const collect = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void;
// malloc_trim(3)
const { functions } = dlopen(null, { malloc_trim: { arguments: ['uint64'], return: 'int32' } });
const trim = functions.malloc_trim as (keepBytes: bigint) => number;

/** Gives back what the C library has free between what is used. */
export function trimFree(): void {
  trim(0n);
}

let behind = 0;
let left = 0;
let markedAt = Number.NEGATIVE_INFINITY;

/**
 * Frees the memory of bytes that nobody looks at any more, now and not at some collection. They have a buffer of their
 * own (`allocUnsafeSlow`).
 */
export function release(bytes: Buffer): void {
  (bytes.buffer as ArrayBuffer).transfer(0);
}

/** Counts bytes that were kept, and are soon needed no more; collects them once there are enough. */
export function leftBehind(bytes: number): void {
  behind += bytes;
  if (behind < interval) return;
  behind = 0;
  collect({ type: 'minor' });
  const held = getHeapStatistics().external_memory;
  if (held < left) left = held;
  const now = performance.now();
  const pause = held - left >= oldBytes ? markEveryMs : markAgainMs;
  if (held < oldBytes || now - markedAt < pause) return;
  collect({ type: 'major' });
  trimFree();
  markedAt = now;
  left = getHeapStatistics().external_memory;
}
