/** `Retry-After` (RFC 9110 section 10.2.3) of a response that says it: too many requests, or too much to do. */
import type { Exchange } from '../http/exchange.ts';

/** Longer than that no endpoint is left alone, whatever it says. */
const longestMs = 30_000;

/** Milliseconds from now, 0 without one. `now`: epoch milliseconds, for those that name a date. */
export function retryAfterMs({ status, response }: Exchange, now: () => number = Date.now): number {
  if (status !== 429 && status !== 503) return 0;
  const text = response?.value('retry-after');
  if (text === undefined) return 0;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now();
  return ms > 0 ? Math.min(longestMs, ms) : 0;
}
