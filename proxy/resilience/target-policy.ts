/** What a target's annotations ask for, as the engines and the balancer need it; kept as long as the target. */
import type { TrafficPolicy } from '../../protocol/traffic-policy.ts';
import type { ProxyError } from '../error.ts';
import { grpcStatusOf, statusOf } from '../http/errors.ts';
import { type Exchange, isIdempotent, type Limits } from '../http/exchange.ts';
import type { CallChain } from './call-chain.ts';
import { inVain, retryHeader, timeLeft } from './mesh-headers.ts';
import { retryAfterMs } from './retry-after.ts';
import { RetryBudget } from './retry-budget.ts';

/** Before the first retry; twice as long before each later one, up to the second. Half to all of it is waited. */
const firstBackoffMs = 25;
const maxBackoffMs = 250;

/** Who carries the tries of a target out. */
export interface PolicyUser {
  /** Endpoints there are. */
  readonly size: number;
  /** The try is over, and another will follow. */
  onRetry(exchange: Exchange): void;
  /** A retry was wanted, and not in the budget. */
  onBudgetExhausted(exchange: Exchange): void;
}

export class TargetPolicy implements Limits {
  readonly #chain: CallChain;
  readonly #user: PolicyUser;
  readonly #random: () => number;
  readonly #budget = new RetryBudget();
  #policy: TrafficPolicy;

  constructor(policy: TrafficPolicy, chain: CallChain, user: PolicyUser, random: () => number = Math.random) {
    this.#policy = policy;
    this.#chain = chain;
    this.#user = user;
    this.#random = random;
  }

  update(policy: TrafficPolicy): void {
    this.#policy = policy;
  }

  get responseMs(): number {
    return this.#policy.timeouts?.response ?? 0;
  }

  get idleMs(): number {
    return this.#policy.timeouts?.idle ?? 0;
  }

  get retriesGrpc(): boolean {
    return (this.#policy.retry?.grpc.length ?? 0) > 0;
  }

  get countsResponses(): boolean {
    return this.#policy.failureAccrual !== undefined;
  }

  get heedsRetryAfter(): boolean {
    return this.countsResponses || this.#policy.retry !== undefined;
  }

  begin(exchange: Exchange): void {
    const { timeouts, retry } = this.#policy;
    const { startedAt } = exchange;
    exchange.limits = this;
    if (retry) this.#budget.request(startedAt);
    if (timeouts?.request) exchange.deadline = startedAt + timeouts.request;
    const told = startedAt + timeLeft(exchange);
    if (told < (exchange.deadline || Number.POSITIVE_INFINITY)) {
      exchange.deadline = told;
      exchange.deadlineCode = 'deadline-exceeded';
    }
  }

  again(exchange: Exchange, error: ProxyError | undefined): number {
    const { retry } = this.#policy;
    if (!retry || !this.#matches(exchange, error)) return -1;
    if (!exchange.grpc && !(retry.methods?.includes(exchange.method) ?? isIdempotent(exchange.method))) return -1;
    const wait = this.#wait(exchange);
    if (this.#inVain(exchange, error, wait)) {
      this.#chain.failedInVain();
      return -1;
    }
    exchange.retries++;
    this.#user.onRetry(exchange);
    return wait;
  }

  /** Whether it failed in a way that a retry is asked for. */
  #matches({ grpc, grpcStatus, status }: Exchange, error: ProxyError | undefined): boolean {
    const { statuses, grpc: grpcStatuses } = this.#policy.retry!;
    if (error && error.source !== 'server') return false;
    if (grpc) {
      const given = error ? grpcStatusOf(error.code) : grpcStatus;
      if (grpcStatuses.includes(given)) return true;
      // Not an answer of gRPC at all.
      if (error || status === 200) return false;
    }
    const given = error ? statusOf(error.code) : status;
    return statuses.some(([from, to]) => given >= from && given <= to);
  }

  /** Whether another layer is to retry, or none. */
  #inVain(exchange: Exchange, error: ProxyError | undefined, wait: number): boolean {
    const { request, response, retries, deadline } = exchange;
    // Another endpoint was asked already where there is one; the service has too much to do as it is.
    if (error?.code === 'overloaded') return true;
    if (response?.value(retryHeader) === inVain && exchange.endpoint?.identity) return true;
    if (request.fromMesh && request.value(retryHeader) !== undefined) return true;
    if (this.#chain.ofRetry(request.value('traceparent'))) return true;
    if (retries >= this.#policy.retry!.limit) return true;
    const now = performance.now();
    if (deadline > 0 && now + wait >= deadline) return true;
    // It asked to be left alone, and there is nobody else.
    if (this.#user.size <= 1 && retryAfterMs(exchange) > 0) return true;
    if (this.#budget.take(now)) return false;
    this.#user.onBudgetExhausted(exchange);
    return true;
  }

  #wait({ retries }: Exchange): number {
    const most = Math.min(maxBackoffMs, firstBackoffMs * 2 ** retries);
    return most * (0.5 + this.#random() / 2);
  }
}
