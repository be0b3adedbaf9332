/** Random ids of traces and spans, from random bytes drawn many at a time: drawing them one by one takes longer than the rest of a request's trace. */
import { randomFillSync } from 'node:crypto';

const pool = Buffer.alloc(4096);
let used = pool.length;

/** So many random bytes as hexadecimal, never all zero. */
function hex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const text = pool.toString('hex', used, used + bytes);
  used += bytes;
  return /[1-9a-f]/.test(text) ? text : hex(bytes);
}

export const newTraceId = (): string => hex(16);
export const newSpanId = (): string => hex(8);
