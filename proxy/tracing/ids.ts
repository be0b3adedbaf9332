/** Random ids, from random bytes drawn many at a time: drawing them one by one takes longer than the rest of a request's trace. */
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

const variants = ['8', '9', 'a', 'b'];

/** A UUID, version 4 (RFC 9562 section 5.4). */
export function newRequestId(): string {
  const text = hex(16);
  const variant = variants[Number.parseInt(text[16]!, 16) & 3]!;
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-4${text.slice(13, 16)}-${variant}${text.slice(17, 20)}-${text.slice(20)}`;
}
