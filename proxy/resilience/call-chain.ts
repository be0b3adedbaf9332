/**
 * What one pod's two sides know of each other, so that of a chain of calls one layer retries and no other.
 *
 * Downwards, a retry is marked, and what the application calls on its behalf is not retried: it is recognised where the
 * application hands on the mark or the trace. Upwards nothing is needed of the application: while a request was with it,
 * a call of its own failed for good (retried in vain, or not worth or not in the budget for a retry). If the request then
 * fails, its client's proxy is told that a retry would be in vain too.
 */
import { parseTraceParent } from '../tracing/trace-context.ts';

const maxTraces = 1_024;

export class CallChain {
  /** Milliseconds of performance.now(). */
  #vainAt = Number.NEGATIVE_INFINITY;
  /** Traces of retries that came in, oldest first. */
  readonly #traces = new Set<string>();

  /** A call of the application's own has failed, and is not to be tried again. */
  failedInVain(): void {
    this.#vainAt = performance.now();
  }

  /** Whether that happened at or after a time. */
  failedInVainSince(time: number): boolean {
    return this.#vainAt >= time;
  }

  /** A retry came in, with its `traceparent` (W3C Trace Context). */
  retryCame(trace: string | undefined): void {
    const id = parseTraceParent(trace)?.traceId;
    if (id === undefined) return;
    this.#traces.delete(id);
    this.#traces.add(id);
    if (this.#traces.size > maxTraces) this.#traces.delete(this.#traces.values().next().value!);
  }

  /** Whether a request of the application's belongs to a retry that came in. */
  ofRetry(trace: string | undefined): boolean {
    const id = parseTraceParent(trace)?.traceId;
    return id !== undefined && this.#traces.has(id);
  }
}
