/** The latencies of one window of time: their usual mean and their fastest tenth, in memory that is used again. */
import { bucketCount, bucketOf, quantile } from '../../protocol/histogram.ts';

const fastestShare = 0.1;

export class LatencyWindow {
  readonly #buckets = new Uint32Array(bucketCount);
  #sum = 0;
  #summed = 0;
  count = 0;

  /** Milliseconds. A `long` one is left out of the mean. */
  add(latency: number, long: boolean): void {
    this.#buckets[bucketOf(latency * 1000)]!++;
    this.count++;
    if (long) return;
    this.#sum += latency;
    this.#summed++;
  }

  /** Milliseconds; that of the fastest tenth where all were long. */
  get mean(): number {
    return this.#summed === 0 ? this.fastest : this.#sum / this.#summed;
  }

  /** What the fastest tenth took at most, milliseconds. */
  get fastest(): number {
    return (quantile(this.#buckets, fastestShare) ?? 0) / 1000;
  }

  clear(): void {
    if (this.count === 0) return;
    this.#buckets.fill(0);
    this.#sum = 0;
    this.#summed = 0;
    this.count = 0;
  }
}
