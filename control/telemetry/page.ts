/**
 * Ten seconds of many series, packed: what would be objects and maps is a few dozen bytes each, so that an hour of a
 * thousand pods fits in memory. Numbers are LEB128; a histogram is sparse, each bucket told by its distance.
 */
import { bucketCount } from '../../protocol/histogram.ts';

/** What one series saw in one bucket of time. */
export interface Slot {
  requests: number;
  failures: number;
  retries: number;
  sentBytes: number;
  receivedBytes: number;
  opened: number;
  connectFailures: number;
  /** Sparse histogram: bucket → count. */
  latency: Map<number, number>;
}

export const counters = [
  'requests',
  'failures',
  'retries',
  'sentBytes',
  'receivedBytes',
  'opened',
  'connectFailures',
] as const satisfies (keyof Slot)[];

export type Counters = Record<(typeof counters)[number], number>;

export function noCounts(): Counters {
  return {
    requests: 0,
    failures: 0,
    retries: 0,
    sentBytes: 0,
    receivedBytes: 0,
    opened: 0,
    connectFailures: 0,
  };
}

class Writer {
  #bytes = Buffer.allocUnsafe(4096);
  #length = 0;

  number(value: number): void {
    // The longest number has eight bytes.
    if (this.#length + 8 > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], this.#bytes.length * 2);
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** A copy of its own size, outside of the pool that small buffers share. */
  end(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(0, this.#length));
  }
}

export function pack(slots: ReadonlyMap<number, Slot>): Uint8Array {
  const writer = new Writer();
  let before = 0;
  for (const [series, slot] of [...slots].sort(([a], [b]) => a - b)) {
    writer.number(series - before);
    before = series;
    for (const name of counters) writer.number(slot[name]);
    writer.number(slot.latency.size);
    let last = 0;
    for (const [bucket, count] of [...slot.latency].sort(([a], [b]) => a - b)) {
      writer.number(bucket - last);
      last = bucket;
      writer.number(count);
    }
  }
  return writer.end();
}

/** Where counts are added up; without a histogram where only the counters are wanted. */
export interface Sums extends Counters {
  latency?: Uint32Array;
}

/** Adds each series' part to what `sumsOf` answers for it; undefined for series that are not asked for. */
export function addPage(bytes: Uint8Array, sumsOf: (series: number) => readonly Sums[] | undefined): void {
  let at = 0;
  const number = (): number => {
    let byte = bytes[at++]!;
    if (byte < 128) return byte;
    let value = byte & 127;
    for (let factor = 128; byte > 127; factor *= 128) {
      byte = bytes[at++]!;
      value += (byte & 127) * factor;
    }
    return value;
  };
  const skip = (count: number): void => {
    for (let left = count; left > 0; at++) if (bytes[at]! < 128) left--;
  };
  let series = 0;
  while (at < bytes.length) {
    series += number();
    const all = sumsOf(series);
    if (all === undefined) {
      skip(counters.length);
      skip(number() * 2);
      continue;
    }
    for (const name of counters) {
      const value = number();
      for (const sums of all) sums[name] += value;
    }
    let bucket = 0;
    for (let left = number(); left > 0; left--) {
      bucket += number();
      const count = number();
      for (const { latency } of all) if (latency) latency[bucket]! += count;
    }
  }
}

/** Adds a slot that is not packed yet. */
export function addSlot(slot: Slot, all: readonly Sums[]): void {
  for (const sums of all) {
    for (const name of counters) sums[name] += slot[name];
    if (sums.latency) for (const [bucket, count] of slot.latency) sums.latency[bucket]! += count;
  }
}

/** Adds a report's sparse histogram; buckets out of range are no part of the protocol. */
export function addLatency(slot: Slot, sparse: readonly number[]): void {
  for (let i = 0; i + 1 < sparse.length; i += 2) {
    const bucket = sparse[i]!;
    if (bucket < bucketCount) slot.latency.set(bucket, (slot.latency.get(bucket) ?? 0) + sparse[i + 1]!);
  }
}
