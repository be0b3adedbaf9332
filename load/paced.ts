/**
 * A client that asks at a fixed rate, whatever the server does: each request has a time at which it is due, and its
 * latency counts from then, so that a server that stalls cannot hide what waited meanwhile (coordinated omission).
 */
import { bucketCount, bucketOf, encodeHistogram } from '../protocol/histogram.ts';
import type { Client } from './client.ts';
import { Http1Client } from './http1-client.ts';
import { Http2Client } from './http2-client.ts';
import type { LoadOptions, LoadResult } from './options.ts';
import { tickUntil } from './ticks.ts';

/** After the last request was due. */
const patienceMs = 5_000;

/** Ends early, with what was answered until then, where the signal fires. */
export async function runPaced(options: LoadOptions, signal?: AbortSignal): Promise<LoadResult> {
  const { rate, warmUpSeconds, seconds, connections } = options;
  const warmUp = Math.round(rate * warmUpSeconds);
  const total = warmUp + Math.round(rate * seconds);
  const clients = Array.from(
    { length: connections },
    (): Client => (options.http2 ? new Http2Client(options) : new Http1Client(options)),
  );
  // Round by round, so that HTTP/2 connections share requests evenly. A ring: first in, first out.
  const idle: Client[] = Array.from({ length: clients[0]?.atOnce ?? 0 }).flatMap(() => clients);
  const size = idle.length;
  let [first, free] = [0, size];
  const counts = new Float64Array(bucketCount);
  const errors: Record<string, number> = {};
  // Numbers of the requests that are under way; what is left in the end was never answered.
  const waiting = new Set<number>();
  let [due, sent, ended, counted, last] = [0, 0, 0, 0, 0];
  const start = performance.now() + 50;
  const dueAt = (number: number): number => start + (number * 1000) / rate;
  const began = dueAt(warmUp);
  const count = (number: number, now: number, trouble: string | undefined): void => {
    if (number < warmUp) return;
    counted++;
    counts[bucketOf((now - dueAt(number)) * 1000)]! += 1;
    if (trouble !== undefined) errors[trouble] = (errors[trouble] ?? 0) + 1;
  };
  const send = (): void => {
    while (sent < due && free > 0) {
      const client = idle[first]!;
      first = (first + 1) % size;
      free--;
      const number = sent++;
      waiting.add(number);
      client.request((trouble) => {
        if (!waiting.delete(number)) return;
        last = performance.now();
        count(number, last, trouble);
        ended++;
        idle[(first + free++) % size] = client;
        send();
      });
    }
  };
  await tickUntil(() => {
    const now = performance.now();
    while (due < total && dueAt(due) <= now) due++;
    send();
    return ended === total || now > dueAt(total) + patienceMs || signal?.aborted === true;
  });
  const now = performance.now();
  // What was never answered waited at least until now.
  const late = ended < total && signal?.aborted !== true;
  if (late) {
    const never = `no answer within ${patienceMs / 1000} s of the end`;
    for (const number of waiting) count(number, now, never);
    for (let number = sent; number < total; number++) count(number, now, never);
  }
  waiting.clear();
  for (const client of clients) client.close();
  return {
    requests: counted,
    sent: signal?.aborted ? ended : total,
    errors,
    // The last one is due a moment before the end.
    seconds: signal?.aborted
      ? Math.max(0, now - began) / 1000
      : Math.max(seconds, ((late ? now : last) - began) / 1000),
    latencies: encodeHistogram(counts),
  };
}
