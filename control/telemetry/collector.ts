/**
 * What proxies reported, in ten-second buckets for one hour. Bounded: a fixed number of series; those idle for the
 * whole hour go, and when there are too many the longest idle goes first.
 */

import type { Workload } from '../../protocol/discovery.ts';
import { bucketCount } from '../../protocol/histogram.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';

export const bucketMs = 10_000;
export const bucketsKept = 360;
const maxSeries = 20_000;
/** Reporters whose last sequence is remembered, to drop a report sent twice. */
const maxReporters = 20_000;

export interface Reporter {
  namespace: string;
  pod: string;
  workload: Workload;
}

/** One bucket of one series. */
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

export interface Series {
  reporter: Reporter;
  direction: 'inbound' | 'outbound';
  peer: Workload | null;
  service: string | null;
  protocol: 'http' | 'tcp';
  tls: 'mtls' | 'plain';
  /** Connections open at the last report. */
  open: number;
  lastReport: number;
  slots: Map<number, Slot>;
}

/** Sums over a window. */
export interface Totals extends Omit<Slot, 'latency'> {
  latency: Uint32Array;
  open: number;
  /** Requests (or, without any, connections) in mutual TLS, and all. */
  secured: number;
  counted: number;
}

export function emptyTotals(): Totals {
  return {
    requests: 0,
    failures: 0,
    retries: 0,
    sentBytes: 0,
    receivedBytes: 0,
    opened: 0,
    connectFailures: 0,
    latency: new Uint32Array(bucketCount),
    open: 0,
    secured: 0,
    counted: 0,
  };
}

export class Collector {
  readonly #series = new Map<string, Series>();
  readonly #reporters = new Map<
    string,
    { started: number; sequence: number; last: number; covered: Map<number, number> }
  >();
  readonly #now: () => number;
  #sweptAt = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get size(): number {
    return this.#series.size;
  }

  /** False where the report had been seen before. */
  add(reporter: Reporter, report: TelemetryReport): boolean {
    const now = this.#now();
    const id = `${reporter.namespace}/${reporter.pod}`;
    const known = this.#reporters.get(id);
    if (known && known.started === report.started && report.sequence <= known.sequence) return false;
    this.#reporters.delete(id);
    const slot = Math.floor(now / bucketMs);
    const covered = known && known.started === report.started ? known.covered : new Map<number, number>();
    covered.set(slot, (covered.get(slot) ?? 0) + report.interval);
    for (const old of covered.keys()) if (old <= slot - bucketsKept) covered.delete(old);
    this.#reporters.set(id, { started: report.started, sequence: report.sequence, last: now, covered });
    if (this.#reporters.size > maxReporters) this.#reporters.delete(this.#reporters.keys().next().value!);
    for (const one of report.series) this.#record(reporter, one, slot, now);
    this.#sweep(now);
    return true;
  }

  /** Series that saw anything in the window, or have connections open. */
  *since(windowMs: number): Generator<Series> {
    const from = Math.floor((this.#now() - windowMs) / bucketMs);
    for (const series of this.#series.values()) {
      if (series.open > 0 && this.#now() - series.lastReport < 60_000) yield series;
      else {
        for (const slot of series.slots.keys()) {
          if (slot >= from) {
            yield series;
            break;
          }
        }
      }
    }
  }

  /** Milliseconds of the window that a pod has been reporting for: a young pod is not averaged over time it was not there. */
  covered(namespace: string, pod: string, windowMs: number): number {
    const reporter = this.#reporters.get(`${namespace}/${pod}`);
    if (!reporter) return windowMs;
    // Exactly the time of the reports that are summed: whole buckets, so it may exceed the window by one.
    const from = Math.floor((this.#now() - windowMs) / bucketMs);
    let sum = 0;
    for (const [slot, ms] of reporter.covered) if (slot >= from) sum += ms;
    return Math.max(bucketMs / 2, sum);
  }

  /** Adds what a series saw in the window to totals. */
  sum(series: Series, windowMs: number, totals: Totals): void {
    const now = this.#now();
    const from = Math.floor((now - windowMs) / bucketMs);
    for (const [number, slot] of series.slots) {
      if (number < from) continue;
      totals.requests += slot.requests;
      totals.failures += slot.failures;
      totals.retries += slot.retries;
      totals.sentBytes += slot.sentBytes;
      totals.receivedBytes += slot.receivedBytes;
      totals.opened += slot.opened;
      totals.connectFailures += slot.connectFailures;
      for (const [bucket, count] of slot.latency) totals.latency[bucket]! += count;
      const counted = series.protocol === 'http' ? slot.requests : slot.opened;
      totals.counted += counted;
      if (series.tls === 'mtls') totals.secured += counted;
    }
    if (now - series.lastReport < 60_000) totals.open += series.open;
  }

  #record(reporter: Reporter, one: TelemetrySeries, slotNumber: number, now: number): void {
    const peer = one.peer ? `${one.peer.namespace}/${one.peer.kind}/${one.peer.name}` : '';
    const key = [
      reporter.namespace,
      reporter.pod,
      one.direction,
      peer,
      one.service ?? one.authority ?? '',
      one.protocol,
      one.tls,
    ].join(' ');
    let series = this.#series.get(key);
    if (!series) {
      if (this.#series.size >= maxSeries) this.#dropOldest();
      series = {
        reporter,
        direction: one.direction,
        peer: one.peer,
        service: one.service,
        protocol: one.protocol,
        tls: one.tls,
        open: 0,
        lastReport: now,
        slots: new Map(),
      };
      this.#series.set(key, series);
    }
    series.open = one.open;
    series.lastReport = now;
    const active = one.requests || one.opened || one.connectFailures || one.sentBytes || one.receivedBytes;
    if (!active) return;
    let slot = series.slots.get(slotNumber);
    if (!slot) {
      slot = {
        requests: 0,
        failures: 0,
        retries: 0,
        sentBytes: 0,
        receivedBytes: 0,
        opened: 0,
        connectFailures: 0,
        latency: new Map(),
      };
      series.slots.set(slotNumber, slot);
      for (const old of series.slots.keys()) if (old <= slotNumber - bucketsKept) series.slots.delete(old);
    }
    slot.requests += one.requests;
    slot.failures += one.failures;
    slot.retries += one.retries;
    slot.sentBytes += one.sentBytes;
    slot.receivedBytes += one.receivedBytes;
    slot.opened += one.opened;
    slot.connectFailures += one.connectFailures;
    for (let i = 0; i + 1 < one.latency.length; i += 2) {
      const bucket = one.latency[i]!;
      if (Number.isInteger(bucket) && bucket >= 0 && bucket < bucketCount)
        slot.latency.set(bucket, (slot.latency.get(bucket) ?? 0) + one.latency[i + 1]!);
    }
  }

  #dropOldest(): void {
    let oldest: string | undefined;
    let since = Number.POSITIVE_INFINITY;
    for (const [key, series] of this.#series) {
      if (series.lastReport < since) {
        since = series.lastReport;
        oldest = key;
      }
    }
    if (oldest) this.#series.delete(oldest);
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < 60_000) return;
    this.#sweptAt = now;
    const limit = now - bucketMs * bucketsKept;
    for (const [key, series] of this.#series) if (series.lastReport < limit) this.#series.delete(key);
    for (const [key, reporter] of this.#reporters) if (reporter.last < limit) this.#reporters.delete(key);
  }
}
