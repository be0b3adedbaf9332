/** Several runs of one load taken together. */
import { addHistogram, bucketCount, quantile } from '../protocol/histogram.ts';
import type { LoadResult } from './options.ts';

export interface LoadSummary {
  requests: number;
  errors: number;
  /** How often each cause was counted. */
  causes: Record<string, number>;
  /** Answered requests per second. */
  rate: number;
  /** Milliseconds below which a share (0 to 1) of all requests were answered. NaN without requests. */
  latency(share: number): number;
}

export function summarize(results: readonly LoadResult[]): LoadSummary {
  const counts = new Float64Array(bucketCount);
  const causes: Record<string, number> = {};
  let [requests, errors, seconds] = [0, 0, 0];
  for (const result of results) {
    addHistogram(counts, result.latencies);
    requests += result.requests;
    seconds += result.seconds;
    for (const [cause, count] of Object.entries(result.errors)) {
      causes[cause] = (causes[cause] ?? 0) + count;
      errors += count;
    }
  }
  const latency = (share: number): number => (quantile(counts, share) ?? Number.NaN) / 1000;
  return { requests, errors, causes, rate: requests / seconds, latency };
}
