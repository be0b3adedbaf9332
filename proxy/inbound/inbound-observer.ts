/** What becomes of the requests of one inbound connection: counted, held to their deadlines, marked for the client's proxy. */
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
import {
  deadlineHeader,
  grpcTimeoutHeader,
  inVain,
  parseDeadline,
  parseGrpcTimeout,
  retryHeader,
} from '../resilience/mesh-headers.ts';
import type { RecentErrors } from '../telemetry/recent-errors.ts';
import type { Series } from '../telemetry/series.ts';
import type { Trails } from '../trails/trails.ts';
import type { Gate } from './gate.ts';

/** Who hears of what becomes of requests. */
interface Told {
  trails: Trails;
  chain: CallChain;
  errors: RecentErrors;
}

export class InboundObserver implements HttpObserver {
  readonly #series: Series;
  readonly #gate: Gate;
  readonly #ends: Ends;
  readonly #told: Told;

  constructor(series: Series, gate: Gate, ends: Ends, told: Told) {
    this.#series = series;
    this.#gate = gate;
    this.#ends = ends;
    this.#told = told;
  }

  requestBegin(exchange: Exchange): void {
    const { trails, chain } = this.#told;
    if (trails.active) trails.begin(exchange);
    const { request, grpc } = exchange;
    let left = grpc ? parseGrpcTimeout(request.value(grpcTimeoutHeader)) : undefined;
    if (request.fromMesh) {
      left = parseDeadline(request.value(deadlineHeader)) ?? left;
      if (request.value(retryHeader) !== undefined) chain.retryCame(request.value('traceparent'));
    }
    if (left === undefined) return;
    exchange.deadline = exchange.startedAt + left;
    exchange.deadlineCode = 'deadline-exceeded';
  }

  attemptEnd(exchange: Exchange, error: ProxyError | undefined): void {
    this.#gate.attemptEnd(exchange, error);
    if (!this.#ends.client.identity || !(error ? error.source !== 'client' : isFailedAnswer(exchange))) return;
    if (this.#told.chain.failedInVainSince(exchange.startedAt)) editResponse(exchange).set(retryHeader, inVain);
  }

  requestEnd(exchange: Exchange): void {
    this.#gate.requestEnd(exchange);
    this.#series.exchange(exchange, isFailure(exchange), latencyOf(exchange));
    const { errors, trails } = this.#told;
    if (exchange.error) errors.failed('inbound', this.#ends.endpoint ?? '', exchange.error);
    if (exchange.trail) trails.end(exchange, exchange.trail, 'inbound', this.#ends);
  }
}
