/** What the HTTP engine is given and what it tells: the record of one request, its target, its observer. */
import type { Endpoint } from '../../protocol/discovery.ts';
import type { CarrierCallback } from '../carrier.ts';
import type { ProxyError } from '../error.ts';
import type { TimerWheel } from '../net/timer-wheel.ts';

/** One request and its response; one object per client connection, its fields set anew for each request. */
export interface Exchange {
  method: string;
  /** Tries made so far, the first included. */
  attempts: number;
  /** The endpoint of the try before, for a retry to avoid; undefined on the first. */
  avoid: Endpoint | undefined;
  /** Set by the target: the endpoint of this try. */
  endpoint: Endpoint | undefined;
  /** 0 where no response came. */
  status: number;
  /** Milliseconds of performance.now: head read; first response byte (0 before it). */
  startedAt: number;
  firstByteAt: number;
  /** Bytes from the client and to it, heads included. */
  sentBytes: number;
  receivedBytes: number;
  /** Why it failed; undefined for a complete response, whatever its status. */
  error: ProxyError | undefined;
  /** Free for the target to keep its own state of the exchange, e.g. what it has counted as pending. */
  state: unknown;
}

export function newExchange(): Exchange {
  return {
    method: '',
    attempts: 0,
    avoid: undefined,
    endpoint: undefined,
    status: 0,
    startedAt: 0,
    firstByteAt: 0,
    sentBytes: 0,
    receivedBytes: 0,
    error: undefined,
    state: undefined,
  };
}

/** Makes the record that of a new request, begun now. */
export function beginExchange(exchange: Exchange, method: string): void {
  exchange.method = method;
  exchange.attempts = 0;
  exchange.avoid = undefined;
  exchange.endpoint = undefined;
  exchange.status = 0;
  exchange.startedAt = performance.now();
  exchange.firstByteAt = 0;
  exchange.sentBytes = 0;
  exchange.receivedBytes = 0;
  exchange.error = undefined;
}

/** RFC 9110 section 9.2.2: sending these twice does what sending them once does. */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export function isIdempotent(method: string): boolean {
  return idempotent.has(method);
}

export interface Http1Target {
  /** Gives a carrier for the exchange's next try; calls back once, possibly at once. */
  acquire(exchange: Exchange, callback: CarrierCallback): void;
}

export interface Http1Observer {
  /** A try is over: the endpoint answered (its final head is read) or failed. At most once per try. */
  attemptEnd(exchange: Exchange, error: ProxyError | undefined): void;
  /** The exchange is over, whatever became of it. Called exactly once per request that was parsed. */
  requestEnd(exchange: Exchange): void;
}

export interface Http1Options {
  target: Http1Target;
  observer: Http1Observer;
  timers: TimerWheel;
  /** Whether the client may see the `mesh-error` header. */
  errorHeader: boolean;
  /**
   * Where the client is another proxy: called in place of an error response when the server is lost before its
   * response, to break the connection off, so that the other proxy can try elsewhere.
   */
  onServerLost?: (error: ProxyError) => void;
  /** Called once when the client's connection is over. */
  onClose(): void;
  /** Malformed requests, with code; they are answered, not forwarded. */
  onRefused(code: string): void;
}
