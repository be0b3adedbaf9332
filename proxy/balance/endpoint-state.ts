/** What the balancer knows of one endpoint: its latency, what it carries now, and whether it fails. */
import type { Endpoint } from '../../protocol/discovery.ts';

/** Time after which an old latency counts for 1/e, milliseconds. */
const decayMs = 10_000;
/** Time after which a refusal counts for 1/e, milliseconds. */
const refusalMs = 1_000;
/** Latency assumed before anything was measured anywhere, milliseconds. */
const unknownLatencyMs = 1;

/** `T` is what the user of the balancer keeps per endpoint, e.g. its telemetry series. */
export class EndpointState<T> {
  endpoint: Endpoint;
  data: T;
  /** Exchanges or connections at it now. */
  pending = 0;
  /** Consecutive connection failures, and failed responses where those count. */
  failures = 0;
  /** When it last failed, milliseconds, whatever succeeded since. */
  failedAt = Number.NEGATIVE_INFINITY;
  /** Ejections in a row, without a success between. */
  ejections = 0;
  /** When its probation ends, milliseconds; 0 while it is in use. */
  ejectedUntil = 0;
  /** It asked for that itself: no success brings it back earlier. */
  resting = false;
  /** When it joined endpoints that were in use already, milliseconds; -Infinity for one that was there from the start. */
  readonly addedAt: number;
  /** Requests it turned away lately: each counts as one that is pending. */
  #refusals = 0;
  #refusedAt = 0;
  #latency: number;
  #measuredAt: number;

  /** `latency`: milliseconds to begin with, so that a new endpoint is not flooded; undefined for the first ones. */
  constructor(endpoint: Endpoint, data: T, latency: number | undefined, now: number) {
    this.endpoint = endpoint;
    this.data = data;
    this.addedAt = latency === undefined ? Number.NEGATIVE_INFINITY : now;
    this.#latency = latency ?? unknownLatencyMs;
    this.#measuredAt = now;
  }

  /** Peak EWMA: up at once, down slowly. */
  observe(latency: number, now: number): void {
    const before = this.latency(now);
    const weight = Math.exp((this.#measuredAt - now) / decayMs);
    this.#latency = latency > before ? latency : this.#latency * weight + latency * (1 - weight);
    this.#measuredAt = now;
  }

  /** Milliseconds; without measurements it falls, so that a once slow endpoint is tried again. */
  latency(now: number): number {
    return this.#latency * Math.exp((this.#measuredAt - now) / decayMs);
  }

  load(now: number): number {
    return this.latency(now) * (this.pending + 1 + (this.#refusals > 0 ? this.#refusalsAt(now) : 0));
  }

  /** It is overloaded, and turned a request away. */
  refused(now: number): void {
    this.#refusals = this.#refusalsAt(now) + 1;
    this.#refusedAt = now;
  }

  #refusalsAt(now: number): number {
    return this.#refusals * Math.exp((this.#refusedAt - now) / refusalMs);
  }
}
