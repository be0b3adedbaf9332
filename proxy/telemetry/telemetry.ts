/** All series of this proxy, bounded in number, and the reports made of them. */
import { encodeHistogram } from '../../protocol/histogram.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';
import { RecentErrors } from './recent-errors.ts';
import { Series, type SeriesKey, statusClasses } from './series.ts';

const maxSeries = 2_000;
const idleMs = 10 * 60_000;
/** Reports kept until they are acknowledged: five minutes of them. */
const maxReports = 60;

/** What a series had counted when it was last reported. */
interface Reported {
  requests: number;
  failures: number;
  statuses: Float64Array;
  retries: number;
  latency: Uint32Array | undefined;
  opened: number;
  connectFailures: number;
  open: number;
  sentBytes: number;
  receivedBytes: number;
  /** When it last had something to report. */
  usedAt: number;
}

export class Telemetry {
  readonly #live = new Map<Series, Reported>();
  readonly #byKey = new Map<string, Series>();
  readonly #now: () => number;
  readonly #started: number;
  readonly #unacked: TelemetryReport[] = [];
  #sequence = 0;
  #reportedAt: number;
  /** Look-ups that went to the original destination because the control plane did not answer. */
  discoveryFallbacks = 0;
  /** Refused TLS peers by reason: clients (inbound) and servers (outbound). */
  readonly tlsRefused = { inbound: new Map<string, number>(), outbound: new Map<string, number>() };
  /** Lines of the access log that could not be written, and spans that could not be sent. */
  accessLogDropped = 0;
  spansSent = 0;
  spansDropped = 0;
  readonly errors: RecentErrors;

  /** `now`: epoch milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.errors = new RecentErrors(now);
    this.#started = now();
    this.#reportedAt = this.#started;
  }

  /** The series of a key; beyond the bound, one that stands for all others of its direction. */
  series(key: SeriesKey): Series {
    const text = keyText(key);
    const known = this.#byKey.get(text);
    if (known) return known;
    if (this.#live.size >= maxSeries && key.authority !== 'other') {
      return this.series({ ...key, peer: null, service: null, authority: 'other', peerIdentity: null });
    }
    const series = new Series(key, (revived) => this.#add(revived));
    this.#add(series);
    return series;
  }

  get started(): Date {
    return new Date(this.#started);
  }

  get all(): Iterable<Series> {
    return this.#live.keys();
  }

  refusedTls(direction: 'inbound' | 'outbound', reason: string, peer: string, detail: string): void {
    const counts = this.tlsRefused[direction];
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
    this.errors.add(direction, reason, peer, detail);
  }

  #add(series: Series): void {
    series.live = true;
    this.#live.set(series, snapshot(series, this.#now()));
    const text = keyText(series.key);
    if (!this.#byKey.has(text)) this.#byKey.set(text, series);
  }

  /** Closes an interval: a report of all that happened in it. It is kept until acknowledged. */
  report(): TelemetryReport {
    const now = this.#now();
    const changed: TelemetrySeries[] = [];
    for (const [series, before] of this.#live) {
      if (isChanged(series, before)) {
        changed.push(delta(series, before));
        this.#live.set(series, snapshot(series, now, before.latency));
      } else if (series.open === 0 && now - before.usedAt > idleMs) this.#drop(series);
    }
    const report = {
      sequence: ++this.#sequence,
      started: this.#started,
      interval: now - this.#reportedAt,
      series: changed,
    };
    this.#reportedAt = now;
    this.#unacked.push(report);
    if (this.#unacked.length > maxReports) this.#unacked.shift();
    return report;
  }

  acknowledged(sequence: number): void {
    while (this.#unacked.length > 0 && this.#unacked[0]!.sequence <= sequence) this.#unacked.shift();
  }

  /** What is to be sent again after a reconnect, oldest first. */
  get unacknowledged(): readonly TelemetryReport[] {
    return this.#unacked;
  }

  #drop(series: Series): void {
    series.live = false;
    this.#live.delete(series);
    const text = keyText(series.key);
    if (this.#byKey.get(text) === series) this.#byKey.delete(text);
  }
}

function keyText(key: SeriesKey): string {
  const peer = key.peer ? `${key.peer.namespace}/${key.peer.kind}/${key.peer.name}` : '';
  return [key.direction, peer, key.service, key.authority, key.protocol, key.tls, key.peerIdentity].join('|');
}

/** `latency`: the copy of before, to be used again. */
function snapshot(series: Series, usedAt: number, latency?: Uint32Array): Reported {
  if (series.latency) {
    latency ??= new Uint32Array(series.latency.length);
    latency.set(series.latency);
  }
  return {
    requests: series.requests,
    failures: series.failures,
    statuses: series.statuses.slice(),
    retries: series.retries,
    latency,
    opened: series.opened,
    connectFailures: series.connectFailures,
    open: series.open,
    sentBytes: series.sentBytes,
    receivedBytes: series.receivedBytes,
    usedAt,
  };
}

function isChanged(series: Series, before: Reported): boolean {
  return (
    series.requests !== before.requests ||
    series.sentBytes !== before.sentBytes ||
    series.receivedBytes !== before.receivedBytes ||
    series.opened !== before.opened ||
    series.connectFailures !== before.connectFailures ||
    series.retries !== before.retries ||
    series.open !== before.open ||
    // A gauge is told as long as it is not zero: the collector's windows are short.
    series.open > 0
  );
}

function delta(series: Series, before: Reported): TelemetrySeries {
  const statuses: Record<string, number> = {};
  for (let i = 0; i < statusClasses.length; i++) {
    const count = series.statuses[i]! - before.statuses[i]!;
    if (count > 0) statuses[statusClasses[i]!] = count;
  }
  const earlier = before.latency;
  const latency = !series.latency
    ? []
    : encodeHistogram(earlier ? series.latency.map((count, i) => count - earlier[i]!) : series.latency);
  return {
    ...series.key,
    requests: series.requests - before.requests,
    failures: series.failures - before.failures,
    statuses,
    retries: series.retries - before.retries,
    latency,
    opened: series.opened - before.opened,
    connectFailures: series.connectFailures - before.connectFailures,
    open: series.open,
    sentBytes: series.sentBytes - before.sentBytes,
    receivedBytes: series.receivedBytes - before.receivedBytes,
  };
}
