/** Keeps what proxies report: ten-second buckets for an hour, in bounded memory. */
import type { Workload } from '../../protocol/discovery.ts';
import { bucketCount } from '../../protocol/histogram.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';
import { addLatency, addPage, addSlot, type Counters, counters, noCounts, pack, type Slot, type Sums } from './page.ts';

const bucketMs = 10_000;
const bucketsKept = 360;
/** A series whose connections were not reported for this long has none open. */
const openForMs = 60_000;

export interface Limits {
  series: number;
  /** Pods whose last sequence is remembered, to drop a report sent twice. */
  reporters: number;
  /** Bytes of packed buckets; beyond them the oldest go, and the time that can be asked for is shorter. */
  bytes: number;
}

const defaultLimits: Limits = { series: 20_000, reporters: 20_000, bytes: 64 << 20 };

export interface Reporter {
  namespace: string;
  pod: string;
  workload: Workload;
}

export interface Series {
  readonly id: number;
  readonly reporter: Reporter;
  readonly direction: 'inbound' | 'outbound';
  readonly peer: Workload | null;
  readonly service: string | null;
  readonly protocol: 'http' | 'tcp';
  readonly tls: 'mtls' | 'plain';
  /** Connections open at the last report. */
  open: number;
  lastReport: number;
}

/** Sums over a window. */
export interface Totals extends Counters {
  latency: Uint32Array;
  open: number;
  /** Requests (or, without any, connections) in mutual TLS, and all. */
  secured: number;
  counted: number;
}

export function emptyTotals(): Totals {
  return { ...noCounts(), latency: new Uint32Array(bucketCount), open: 0, secured: 0, counted: 0 };
}

interface Known {
  id: number;
  started: number;
  sequence: number;
  last: number;
}

/** A bucket that is over. */
interface Page {
  slot: number;
  bytes: Uint8Array;
  /** Pairs: id of a reporter, milliseconds it reported. */
  covered: Uint32Array;
}

const reporterKey = (namespace: string, pod: string): string => `${namespace}/${pod}`;

export class Collector {
  /** By key, those that were reported longest ago first. */
  readonly #series = new Map<string, Series>();
  readonly #byId = new Map<number, Series>();
  readonly #reporters = new Map<string, Known>();
  readonly #pages: Page[] = [];
  readonly #now: () => number;
  readonly #limits: Limits;
  #open: { slot: number; slots: Map<number, Slot>; covered: Map<number, number> } | undefined;
  #bytes = 0;
  #ids = 0;

  constructor(now: () => number = Date.now, limits: Partial<Limits> = {}) {
    this.#now = now;
    this.#limits = { ...defaultLimits, ...limits };
  }

  get size(): number {
    return this.#series.size;
  }

  /** Of packed buckets. */
  get bytes(): number {
    return this.#bytes;
  }

  /** False where the report had been seen before. */
  add(reporter: Reporter, report: TelemetryReport): boolean {
    const now = this.#now();
    const key = reporterKey(reporter.namespace, reporter.pod);
    const known = this.#reporters.get(key);
    const { started, sequence } = report;
    if (known?.started === started && sequence <= known.sequence) return false;
    // Told anew, so that the first of the map is the one that was silent longest.
    this.#reporters.delete(key);
    const next = { id: known?.started === started ? known.id : ++this.#ids, started, sequence, last: now };
    this.#reporters.set(key, next);
    const open = this.#at(now);
    open.covered.set(next.id, (open.covered.get(next.id) ?? 0) + report.interval);
    for (const one of report.series) this.#record(reporter, one, open.slots, now);
    this.#forget(now);
    return true;
  }

  /** Milliseconds of the window that pods have been reporting for: a young pod is not averaged over time it was not there. */
  coverage(windowMs: number): (namespace: string, pod: string) => number {
    // Exactly the time of the reports that are summed: whole buckets, so it may exceed the window by one.
    const sums = new Map<number, number>();
    const add = (id: number, ms: number) => sums.set(id, (sums.get(id) ?? 0) + ms);
    for (const { covered } of this.#pagesSince(windowMs))
      for (let i = 0; i < covered.length; i += 2) add(covered[i]!, covered[i + 1]!);
    for (const [id, ms] of this.#open?.covered ?? []) add(id, ms);
    return (namespace, pod) => {
      const known = this.#reporters.get(reporterKey(namespace, pod));
      return known ? Math.max(bucketMs / 2, sums.get(known.id) ?? 0) : windowMs;
    };
  }

  /** Adds what happened in the window to the totals that `totalsOf` names; asked once per series that saw anything. */
  sum(windowMs: number, totalsOf: (series: Series) => readonly Totals[]): void {
    const now = this.#now();
    interface Asked {
      series: Series;
      own: Counters;
      into: readonly Totals[];
      /** Both, made once: a window has many pages. */
      sums: readonly Sums[];
    }
    const asked = new Map<number, Asked | undefined>();
    const ask = (id: number): Asked | undefined => {
      if (asked.has(id)) return asked.get(id);
      const series = this.#byId.get(id);
      const into = series ? totalsOf(series) : [];
      const own = noCounts();
      const entry = series && into.length > 0 ? { series, own, into, sums: [own, ...into] } : undefined;
      asked.set(id, entry);
      return entry;
    };
    const sumsOf = (id: number): readonly Sums[] | undefined => ask(id)?.sums;
    for (const page of this.#pagesSince(windowMs)) addPage(page.bytes, sumsOf);
    for (const [id, slot] of this.#open && this.#open.slot >= this.#first(windowMs) ? this.#open.slots : []) {
      const sums = sumsOf(id);
      if (sums) addSlot(slot, sums);
    }
    for (const { id, open, lastReport } of this.#series.values()) {
      if (open === 0 || now - lastReport >= openForMs) continue;
      for (const totals of ask(id)?.into ?? []) totals.open += open;
    }
    for (const entry of asked.values()) {
      if (!entry) continue;
      const counted = entry.series.protocol === 'http' ? entry.own.requests : entry.own.opened;
      for (const totals of entry.into) {
        totals.counted += counted;
        if (entry.series.tls === 'mtls') totals.secured += counted;
      }
    }
  }

  #first(windowMs: number): number {
    return Math.floor((this.#now() - windowMs) / bucketMs);
  }

  #pagesSince(windowMs: number): Page[] {
    const first = this.#first(windowMs);
    return this.#pages.filter((page) => page.slot >= first);
  }

  /** The bucket of now; packs the one before. */
  #at(now: number) {
    const slot = Math.floor(now / bucketMs);
    if (this.#open?.slot === slot) return this.#open;
    if (this.#open) {
      const { slots, covered } = this.#open;
      const page = { slot: this.#open.slot, bytes: pack(slots), covered: Uint32Array.from([...covered].flat()) };
      this.#pages.push(page);
      this.#bytes += sizeOf(page);
    }
    while (this.#pages[0] && (this.#bytes > this.#limits.bytes || this.#pages[0].slot <= slot - bucketsKept))
      this.#bytes -= sizeOf(this.#pages.shift()!);
    this.#open = { slot, slots: new Map(), covered: new Map() };
    return this.#open;
  }

  #record(reporter: Reporter, one: TelemetrySeries, slots: Map<number, Slot>, now: number): void {
    const peer = one.peer ? `${one.peer.namespace}/${one.peer.kind}/${one.peer.name}` : '';
    const other = one.service ?? one.authority ?? '';
    const { direction, protocol, tls } = one;
    const key = [reporter.namespace, reporter.pod, direction, peer, other, protocol, tls].join(' ');
    let series = this.#series.get(key);
    if (series) this.#series.delete(key);
    else {
      const { peer, service } = one;
      series = { id: ++this.#ids, reporter, direction, peer, service, protocol, tls, open: 0, lastReport: now };
      this.#byId.set(series.id, series);
    }
    this.#series.set(key, series);
    series.open = one.open;
    series.lastReport = now;
    if (counters.every((name) => one[name] === 0)) return;
    let slot = slots.get(series.id);
    if (!slot) {
      slot = { ...noCounts(), latency: new Map() };
      slots.set(series.id, slot);
    }
    for (const name of counters) slot[name] += one[name];
    addLatency(slot, one.latency);
  }

  /** Drops what was silent for longer than is kept, and the longest silent where there are too many. */
  #forget(now: number): void {
    const limit = now - bucketMs * bucketsKept;
    for (const [key, series] of this.#series) {
      if (this.#series.size <= this.#limits.series && series.lastReport >= limit) break;
      this.#series.delete(key);
      this.#byId.delete(series.id);
    }
    for (const [key, { last }] of this.#reporters) {
      if (this.#reporters.size <= this.#limits.reporters && last >= limit) break;
      this.#reporters.delete(key);
    }
  }
}

const sizeOf = (page: Page): number => page.bytes.byteLength + page.covered.byteLength;
