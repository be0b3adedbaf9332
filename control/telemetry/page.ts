/**
 * Ten seconds of many series as bytes: what would be objects and maps is a few dozen bytes each, so that an hour of a
 * thousand pods fits in memory, and a report leaves nothing behind for the garbage collector. Numbers are LEB128; a
 * histogram is sparse, each bucket told by its distance.
 */
import { bucketCount } from '../../protocol/histogram.ts';

export const counters = [
  'requests',
  'failures',
  'retries',
  'sentBytes',
  'receivedBytes',
  'opened',
  'connectFailures',
] as const;

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

/** What one series saw since it was last reported; the histogram is sparse, as on the wire. */
export interface Counted extends Counters {
  latency: readonly number[];
}

/** Where counts are added up; without a histogram where only the counters are wanted. */
export interface Sums extends Counters {
  latency?: Uint32Array;
}

type SumsOf = (series: number) => readonly Sums[] | undefined;

class Writer {
  #bytes = Buffer.allocUnsafeSlow(4096);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What was written; valid until more is. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  number(value: number): void {
    // The longest number has eight bytes.
    if (this.#length + 8 > this.#bytes.length) this.#grow();
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }

  #grow(): void {
    const larger = Buffer.allocUnsafeSlow(this.#bytes.length * 2);
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  at: number;
  /** Lowest and highest bucket of the histograms added since these were last set. */
  low = bucketCount;
  high = 0;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get more(): boolean {
    return this.at < this.#bytes.length;
  }

  number(): number {
    let byte = this.#bytes[this.at++]!;
    if (byte < 128) return byte;
    let value = byte & 127;
    for (let factor = 128; byte > 127; factor *= 128) {
      byte = this.#bytes[this.at++]!;
      value += (byte & 127) * factor;
    }
    return value;
  }

  skip(count: number): void {
    for (let left = count; left > 0; this.at++) if (this.#bytes[this.at]! < 128) left--;
  }

  addTo(all: readonly Sums[]): void {
    for (const name of counters) {
      const value = this.number();
      for (const sums of all) sums[name] += value;
    }
    let bucket = 0;
    for (let left = this.number(); left > 0; left--) {
      bucket += this.number();
      if (bucket < this.low) this.low = bucket;
      if (bucket > this.high) this.high = bucket;
      const count = this.number();
      for (const { latency } of all) if (latency) latency[bucket]! += count;
    }
  }

  skipEntry(): void {
    this.skip(counters.length);
    this.skip(this.number() * 2);
  }
}

/** Adds each series' part to what `sumsOf` answers for it; undefined for series that are not asked for. */
export function addPage(bytes: Uint8Array, sumsOf: SumsOf): void {
  const reader = new Reader(bytes);
  let series = 0;
  while (reader.more) {
    series += reader.number();
    const all = sumsOf(series);
    if (all) reader.addTo(all);
    else reader.skipEntry();
  }
}

/** The bucket of now: what is reported is appended, and put together by series when the bucket is over. */
export class OpenPage {
  readonly #entries = new Writer();
  /** Of each entry: its series, and where it begins. */
  #series: number[] = [];
  #starts: number[] = [];
  readonly #sums = { ...noCounts(), latency: new Uint32Array(bucketCount) };

  /** Bytes so far. */
  get length(): number {
    return this.#entries.length;
  }

  add(series: number, counted: Counted): void {
    this.#series.push(series);
    this.#starts.push(this.#entries.length);
    for (const name of counters) this.#entries.number(counted[name]);
    this.#addLatency(counted.latency);
  }

  addTo(sumsOf: SumsOf): void {
    const reader = new Reader(this.#entries.bytes);
    this.#series.forEach((series, index) => {
      const all = sumsOf(series);
      if (!all) return;
      reader.at = this.#starts[index]!;
      reader.addTo(all);
    });
  }

  /** One entry for each series, in the order of their numbers; the page is empty again. */
  pack(): Uint8Array {
    const order = Uint32Array.from(this.#series.keys()).sort((a, b) => this.#series[a]! - this.#series[b]!);
    const reader = new Reader(this.#entries.bytes);
    const packed = new Writer();
    let before = 0;
    for (let next = 0; next < order.length; ) {
      const series = this.#series[order[next]!]!;
      packed.number(series - before);
      before = series;
      reader.low = bucketCount;
      reader.high = 0;
      for (; next < order.length && this.#series[order[next]!] === series; next++) {
        reader.at = this.#starts[order[next]!]!;
        reader.addTo([this.#sums]);
      }
      this.#writeSums(packed, reader.low, reader.high);
    }
    this.#entries.clear();
    this.#series = [];
    this.#starts = [];
    return new Uint8Array(packed.bytes);
  }

  /** Buckets out of range are no part of the protocol; nor are those out of order, but they can be put right. */
  #addLatency(sparse: readonly number[]): void {
    let pairs = 0;
    let last = 0;
    for (let i = 0; i + 1 < sparse.length; i += 2) {
      const bucket = sparse[i]!;
      if (bucket < last) return this.#addLatency(inOrder(sparse));
      if (bucket >= bucketCount) break;
      last = bucket;
      pairs++;
    }
    this.#entries.number(pairs);
    last = 0;
    for (let i = 0; i < pairs * 2; i += 2) {
      this.#entries.number(sparse[i]! - last);
      last = sparse[i]!;
      this.#entries.number(sparse[i + 1]!);
    }
  }

  #writeSums(packed: Writer, low: number, high: number): void {
    const { latency } = this.#sums;
    for (const name of counters) {
      packed.number(this.#sums[name]);
      this.#sums[name] = 0;
    }
    let pairs = 0;
    for (let bucket = low; bucket <= high; bucket++) if (latency[bucket] !== 0) pairs++;
    packed.number(pairs);
    let last = 0;
    for (let bucket = low; pairs > 0; bucket++) {
      if (latency[bucket] === 0) continue;
      packed.number(bucket - last);
      last = bucket;
      packed.number(latency[bucket]!);
      latency[bucket] = 0;
      pairs--;
    }
  }
}

function inOrder(sparse: readonly number[]): number[] {
  const pairs: [bucket: number, count: number][] = [];
  for (let i = 0; i + 1 < sparse.length; i += 2) pairs.push([sparse[i]!, sparse[i + 1]!]);
  return pairs.sort(([a], [b]) => a - b).flat();
}
