/** Counters of one telemetry series: plain numbers that only grow; a report is what they grew by. */
import { bucketCount, bucketOf } from '../../protocol/histogram.ts';
import type { TelemetrySeries } from '../../protocol/telemetry.ts';
import { grpcStatusNames } from '../http/grpc.ts';

export type SeriesKey = Pick<
  TelemetrySeries,
  'direction' | 'peer' | 'service' | 'authority' | 'protocol' | 'tls' | 'peerIdentity'
>;

/** Status classes by index: `none` (no response), 1xx to 5xx. */
export const statusClasses = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** Bounds of the exposed latency histogram, seconds; the fine one goes to the control plane. */
export const latencyBounds = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10] as const;

/** What is counted of a request that is over; see Exchange. */
interface Ended {
  /** 0 where no response came. */
  status: number;
  sentBytes: number;
  receivedBytes: number;
  grpc: boolean;
  /** -1 where the response did not come to its end. */
  grpcStatus: number;
}

const cancelled = grpcStatusNames.indexOf('CANCELLED');

export class Series {
  readonly key: SeriesKey;
  requests = 0;
  failures = 0;
  readonly statuses = new Float64Array(statusClasses.length);
  /** Of gRPC calls, by number; made with the first. */
  grpcStatuses: Float64Array | undefined;
  retries = 0;
  /** Retries that the budget did not allow, and times that an endpoint was ejected. */
  exhausted = 0;
  ejections = 0;
  /** Made with the first request; a TCP series has none. */
  latency: Uint32Array | undefined;
  /** Seconds, for the exposed histogram. */
  latencySum = 0;
  opened = 0;
  connectFailures = 0;
  open = 0;
  sentBytes = 0;
  receivedBytes = 0;
  /** Set by the registry: false once it was dropped for being idle. */
  live = true;
  readonly #revive: (series: Series) => void;

  /** `revive` is called when a dropped series is used again by one who still holds it. */
  constructor(key: SeriesKey, revive: (series: Series) => void) {
    this.key = key;
    this.#revive = revive;
  }

  /** One request over. `latency`: milliseconds, up to the first response byte. */
  exchange(ended: Ended, failed: boolean, latency: number): void {
    this.request(ended.status, failed, latency, ended.sentBytes, ended.receivedBytes);
    if (!ended.grpc) return;
    this.grpcStatuses ??= new Float64Array(grpcStatusNames.length);
    // Cut off before its end, by the client too: as it looks to a caller.
    this.grpcStatuses[ended.grpcStatus < 0 ? cancelled : ended.grpcStatus]!++;
  }

  /** One request over: status 0 where none came; latency in milliseconds, up to the first response byte. */
  request(status: number, failed: boolean, latency: number, sentBytes: number, receivedBytes: number): void {
    if (!this.live) this.#revive(this);
    this.requests++;
    if (failed) this.failures++;
    const statusClass = status >= 100 && status < 600 ? Math.floor(status / 100) : 0;
    this.statuses[statusClass]!++;
    this.latency ??= new Uint32Array(bucketCount);
    this.latency[bucketOf(latency * 1000)]!++;
    this.latencySum += latency / 1000;
    this.sentBytes += sentBytes;
    this.receivedBytes += receivedBytes;
  }

  connectionOpened(): void {
    if (!this.live) this.#revive(this);
    this.opened++;
    this.open++;
  }

  connectionClosed(): void {
    this.open--;
  }

  connectFailed(): void {
    if (!this.live) this.#revive(this);
    this.connectFailures++;
  }

  budgetExhausted(): void {
    if (!this.live) this.#revive(this);
    this.exhausted++;
  }

  ejected(): void {
    if (!this.live) this.#revive(this);
    this.ejections++;
  }
}
