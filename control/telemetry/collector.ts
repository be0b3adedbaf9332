/** Keeps what proxies report: ten-second buckets for an hour, in bounded memory. */
import type { Workload } from '../../protocol/discovery.ts';
import { bucketCount } from '../../protocol/histogram.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';
import { addPage, type Counters, counters, noCounts, OpenPage, type Sums } from './page.ts';

const bucketMs = 10_000;
const bucketsKept = 360;
/** A series whose connections were not reported for this long has none open. */
const openForMs = 60_000;
/** Beyond this a bucket is packed before its time: what one bucket may hold open is bounded too. */
const openBytes = 16 << 20;
/** Reports of a proxy that may come late, its replica having been slow to pass them on; as many as a number has bits. */
const lateReports = 31;
/** More shapes than series there can be. */
const shapes = 2 ** 22;

export interface Limits {
  series: number;
  /** Pods whose last sequence is remembered, to drop a report sent twice. */
  reporters: number;
  /** Bytes of packed buckets; beyond them the oldest go, and the time that can be asked for is shorter. */
  bytes: number;
}

const defaultLimits: Limits = { series: 60_000, reporters: 20_000, bytes: 64 << 20 };

export interface Reporter {
  namespace: string;
  pod: string;
  workload: Workload;
}

/** What series of many pods have in common, held once. */
interface Shape {
  readonly id: number;
  readonly key: string;
  readonly direction: 'inbound' | 'outbound';
  readonly peer: Workload | null;
  readonly service: string | null;
  readonly protocol: 'http' | 'tcp';
  readonly tls: 'mtls' | 'plain';
  /** Series of this shape. */
  users: number;
}

export interface Series {
  readonly id: number;
  readonly reporter: Reporter;
  readonly shape: Shape;
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
  /** Of the pod, and of its present process. */
  pod: number;
  process: number;
  reporter: Reporter;
  started: number;
  /** The highest, and a bit for each of those before it that came. */
  sequence: number;
  seen: number;
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
  /** By pod and shape, those that were reported longest ago first. */
  readonly #series = new Map<number, Series>();
  readonly #shapes = new Map<string, Shape>();
  readonly #byId = new Map<number, Series>();
  readonly #reporters = new Map<string, Known>();
  readonly #pages: Page[] = [];
  readonly #now: () => number;
  readonly #limits: Limits;
  readonly #page = new OpenPage();
  #open: { slot: number; covered: Map<number, number> } | undefined;
  /** Numbers of shapes that nobody has any more. */
  readonly #freeShapes: number[] = [];
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
    const before = this.#reporters.get(key);
    if (before && !isNew(before, report)) return false;
    const known = this.#reporter(before, reporter, report, now);
    // Told anew, so that the first of the map is the one that was silent longest.
    this.#reporters.delete(key);
    this.#reporters.set(key, known);
    const { covered } = this.#at(now);
    covered.set(known.process, (covered.get(known.process) ?? 0) + report.interval);
    for (const one of report.series) this.#record(known, one, now);
    this.#forget(now);
    return true;
  }

  #reporter(before: Known | undefined, reporter: Reporter, { started, sequence }: TelemetryReport, now: number): Known {
    if (!before)
      return { ...{ pod: ++this.#ids, process: ++this.#ids, reporter, started, sequence, last: now }, seen: 0 };
    // Which workload a pod belongs to may only be known once its pod is.
    Object.assign(before.reporter, reporter);
    before.last = now;
    if (before.started !== started) return Object.assign(before, { process: ++this.#ids, started, sequence, seen: 0 });
    const ahead = sequence - before.sequence;
    if (ahead > 0) {
      before.seen = ahead > lateReports ? 0 : (before.seen << ahead) | (1 << (ahead - 1));
      before.sequence = sequence;
    } else before.seen |= 1 << (-ahead - 1);
    return before;
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
      return known ? Math.max(bucketMs / 2, sums.get(known.process) ?? 0) : windowMs;
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
    if (this.#open && this.#open.slot >= this.#first(windowMs)) this.#page.addTo(sumsOf);
    for (const { id, open, lastReport } of this.#series.values()) {
      if (open === 0 || now - lastReport >= openForMs) continue;
      for (const totals of ask(id)?.into ?? []) totals.open += open;
    }
    for (const entry of asked.values()) {
      if (!entry) continue;
      const { protocol, tls } = entry.series.shape;
      const counted = protocol === 'http' ? entry.own.requests : entry.own.opened;
      for (const totals of entry.into) {
        totals.counted += counted;
        if (tls === 'mtls') totals.secured += counted;
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
    if (this.#open?.slot === slot && this.#page.length < openBytes) return this.#open;
    if (this.#open) {
      const { covered } = this.#open;
      const page = { slot: this.#open.slot, bytes: this.#page.pack(), covered: Uint32Array.from([...covered].flat()) };
      this.#pages.push(page);
      this.#bytes += sizeOf(page);
    }
    while (this.#pages[0] && (this.#bytes > this.#limits.bytes || this.#pages[0].slot <= slot - bucketsKept))
      this.#bytes -= sizeOf(this.#pages.shift()!);
    this.#open = { slot, covered: new Map() };
    return this.#open;
  }

  #record(known: Known, one: TelemetrySeries, now: number): void {
    const shape = this.#shape(one);
    const key = known.pod * shapes + shape.id;
    let series = this.#series.get(key);
    if (series) this.#series.delete(key);
    else {
      series = { id: ++this.#ids, reporter: known.reporter, shape, open: 0, lastReport: now };
      shape.users++;
      this.#byId.set(series.id, series);
    }
    this.#series.set(key, series);
    series.open = one.open;
    series.lastReport = now;
    if (counters.some((name) => one[name] !== 0)) this.#page.add(series.id, one);
  }

  #shape(one: TelemetrySeries): Shape {
    const { direction, protocol, tls, peer, service } = one;
    const other = peer ? `${peer.namespace}/${peer.kind}/${peer.name}` : '';
    const key = `${direction} ${other} ${service ?? one.authority ?? ''} ${protocol} ${tls}`;
    const known = this.#shapes.get(key);
    if (known) return known;
    const shape: Shape = {
      id: this.#freeShapes.pop() ?? this.#shapes.size,
      key,
      ...{ direction, peer, service },
      ...{ protocol, tls },
      users: 0,
    };
    this.#shapes.set(key, shape);
    return shape;
  }

  /** Drops what was silent for longer than is kept, and the longest silent where there are too many. */
  #forget(now: number): void {
    const limit = now - bucketMs * bucketsKept;
    for (const [key, series] of this.#series) {
      if (this.#series.size <= this.#limits.series && series.lastReport >= limit) break;
      this.#series.delete(key);
      this.#byId.delete(series.id);
      const { shape } = series;
      if (--shape.users > 0) continue;
      this.#shapes.delete(shape.key);
      this.#freeShapes.push(shape.id);
    }
    for (const [key, { last }] of this.#reporters) {
      if (this.#reporters.size <= this.#limits.reporters && last >= limit) break;
      this.#reporters.delete(key);
    }
  }
}

const sizeOf = (page: Page): number => page.bytes.byteLength + page.covered.byteLength;

function isNew({ started, sequence, seen }: Known, report: TelemetryReport): boolean {
  if (started !== report.started || report.sequence > sequence) return true;
  const behind = sequence - report.sequence;
  return behind > 0 && behind <= lateReports && (seen & (1 << (behind - 1))) === 0;
}
