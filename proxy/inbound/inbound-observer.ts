/**
 * What becomes of one inbound connection and its requests: counted, but for Kubernetes' probes, which are no traffic; held
 * to their deadlines, marked for the client's proxy.
 */
import type { Probe } from '../../protocol/discovery.ts';
import type { Ends } from '../access-log/entry.ts';
import type { ProxyError } from '../error.ts';
import {
  type Exchange,
  editResponse,
  type HttpObserver,
  isFailedAnswer,
  isFailure,
  latencyOf,
} from '../http/exchange.ts';
import type { CallChain } from '../resilience/call-chain.ts';
import { inVain, retryHeader, timeLeft } from '../resilience/mesh-headers.ts';
import type { RecentErrors } from '../telemetry/recent-errors.ts';
import type { Series } from '../telemetry/series.ts';
import type { Trails } from '../trails/trails.ts';
import { type Gate, probe } from './gate.ts';
import { isProbe } from './probes.ts';

export interface InboundObserverOptions {
  series: Series;
  gate: Gate;
  ends: Ends;
  /** Of its port; undefined where none can come this way. */
  probes: readonly Probe[] | undefined;
  trails: Trails;
  chain: CallChain;
  errors: RecentErrors;
}

export class InboundObserver implements HttpObserver {
  readonly #options: InboundObserverOptions;
  /** The connection is counted: at once, or where it may be a probe's, with the first request that is none. */
  #counted = false;

  constructor(options: InboundObserverOptions) {
    this.#options = options;
    if (!options.probes) this.#count();
  }

  #count(): void {
    this.#counted = true;
    this.#options.series.connectionOpened();
  }

  /** To be called when the connection is over. */
  close(): void {
    if (this.#counted) this.#options.series.connectionClosed();
  }

  requestBegin(exchange: Exchange): void {
    const { probes, trails, chain } = this.#options;
    const { request } = exchange;
    if (probes && isProbe(probes, request)) exchange.state = probe;
    else {
      if (!this.#counted) this.#count();
      if (trails.active) trails.begin(exchange);
    }
    if (request.fromMesh && request.value(retryHeader) !== undefined) chain.retryCame(request.value('traceparent'));
    const left = timeLeft(exchange);
    if (left === Number.POSITIVE_INFINITY) return;
    exchange.deadline = exchange.startedAt + left;
    exchange.deadlineCode = 'deadline-exceeded';
  }

  attemptEnd(exchange: Exchange, error: ProxyError | undefined): void {
    const { gate, ends, chain } = this.#options;
    gate.attemptEnd(exchange, error);
    if (!ends.client.identity || !(error ? error.source !== 'client' : isFailedAnswer(exchange))) return;
    if (chain.failedInVainSince(exchange.startedAt)) editResponse(exchange).set(retryHeader, inVain);
  }

  requestEnd(exchange: Exchange): void {
    const { series, gate, ends, trails, errors } = this.#options;
    const counts = exchange.state !== probe;
    gate.requestEnd(exchange);
    if (counts) series.exchange(exchange, isFailure(exchange), latencyOf(exchange));
    if (exchange.error) errors.failed('inbound', ends.endpoint ?? '', exchange.error);
    if (exchange.trail) trails.end(exchange, exchange.trail, 'inbound', ends);
  }
}
