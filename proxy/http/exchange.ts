/** What the HTTP engine is given and what it tells: the record of one request, its target, its observer. */
import type { Endpoint } from '../../protocol/discovery.ts';
import type { CarrierCallback } from '../carrier.ts';
import type { ProxyError, Retry } from '../error.ts';
import type { SessionUser } from '../http2/session-pool.ts';
import type { TimerWheel } from '../net/timer-wheel.ts';
import type { Trail } from '../trails/trail.ts';
import { isGrpcFailure } from './grpc.ts';
import { HeadEdit } from './head-edit.ts';
import type { Fields, RequestFields } from './head-fields.ts';

/** One request and its response; in HTTP/1 one object per client connection, its fields set anew for each request. */
export interface Exchange {
  method: string;
  /** The request's head as the client sent it. Nothing of it is worked out before it is asked for. */
  request: RequestFields;
  /** The final head of the response as the server sent it; undefined before. To be read until `requestEnd` returns. */
  response: Fields | undefined;
  /**
   * What the server is to hear otherwise; see `editRequest`. A target sets it in `acquire`, for this try and those
   * behind it.
   */
  requestEdit: HeadEdit | undefined;
  /** What the client is to hear otherwise; see `editResponse`. For an error of the proxy's own too. */
  responseEdit: HeadEdit | undefined;
  /** Tries made so far, the first included. */
  attempts: number;
  /** Of them, those that a target's policy asked for: the application may have seen the ones before. */
  retries: number;
  /** When it has to be over, milliseconds of performance.now(), and the error's code if it is not; 0 for never. */
  deadline: number;
  deadlineCode: 'request-timeout' | 'deadline-exceeded';
  /** Set by `requestBegin` where tries are limited or may be made again. */
  limits: Limits | undefined;
  /** Set by the target: the endpoint of this try; before a later one that of the try before, to be avoided. */
  endpoint: Endpoint | undefined;
  /** 0 where no response came. */
  status: number;
  /** Milliseconds of performance.now: head read; first response byte (0 before it). */
  startedAt: number;
  firstByteAt: number;
  /** Bytes from the client and to it, heads included. */
  sentBytes: number;
  receivedBytes: number;
  /** Whether it is a gRPC call, and the status that its response ended with; -1 before. */
  grpc: boolean;
  grpcStatus: number;
  /** Why it failed; undefined for a complete response, whatever its status. */
  error: ProxyError | undefined;
  /** What the access log and its trace keep of it; undefined while neither is on. */
  trail: Trail | undefined;
  /** Free for the target to keep its own state of the exchange, e.g. what it has counted as pending. */
  state: unknown;
}

export function newExchange(request: RequestFields): Exchange {
  return {
    method: '',
    request,
    response: undefined,
    requestEdit: undefined,
    responseEdit: undefined,
    attempts: 0,
    retries: 0,
    deadline: 0,
    deadlineCode: 'request-timeout',
    limits: undefined,
    endpoint: undefined,
    status: 0,
    startedAt: 0,
    firstByteAt: 0,
    sentBytes: 0,
    receivedBytes: 0,
    grpc: false,
    grpcStatus: -1,
    error: undefined,
    trail: undefined,
    state: undefined,
  };
}

/** Makes the record that of a new request, begun now. */
export function beginExchange(exchange: Exchange, method: string): void {
  exchange.method = method;
  exchange.response = undefined;
  exchange.requestEdit = undefined;
  exchange.responseEdit = undefined;
  exchange.attempts = 0;
  exchange.retries = 0;
  exchange.deadline = 0;
  exchange.deadlineCode = 'request-timeout';
  exchange.limits = undefined;
  exchange.endpoint = undefined;
  exchange.status = 0;
  exchange.startedAt = performance.now();
  exchange.firstByteAt = 0;
  exchange.sentBytes = 0;
  exchange.receivedBytes = 0;
  exchange.grpc = false;
  exchange.grpcStatus = -1;
  exchange.error = undefined;
  exchange.trail = undefined;
}

/** Forgets the answer to a try that is not passed on. */
export function beginAgain(exchange: Exchange): void {
  exchange.status = 0;
  exchange.firstByteAt = 0;
  exchange.grpcStatus = -1;
  exchange.response = undefined;
  exchange.responseEdit = undefined;
}

/** What is asked of a target's tries; one object for all its requests. */
export interface Limits {
  /** Milliseconds to the head of a try's response, and without a byte either way; 0 for no limit. */
  readonly responseMs: number;
  readonly idleMs: number;
  /** A call's status decides whether it is tried again: it has to be known before its response begins. */
  readonly retriesGrpc: boolean;
  /**
   * A try was answered, or failed by an error, and its request could be sent again whole: milliseconds to wait before
   * that; -1 not to. Asked once per try.
   */
  again(exchange: Exchange, error: ProxyError | undefined): number;
}

/** To put lines into the request's head or take some out: before `acquire` calls back, for that try and later ones. */
export function editRequest(exchange: Exchange): HeadEdit {
  exchange.requestEdit ??= new HeadEdit();
  return exchange.requestEdit;
}

/** The same for the response's final head: until `attemptEnd` returns. */
export function editResponse(exchange: Exchange): HeadEdit {
  exchange.responseEdit ??= new HeadEdit();
  return exchange.responseEdit;
}

/** Whether it counts against the server: no response or a broken one, status 5xx, a gRPC status that is its fault. */
export function isFailure({ status, error, grpcStatus }: Exchange): boolean {
  return (
    status >= 500 || status === 0 || isGrpcFailure(grpcStatus) || (error !== undefined && error.source !== 'client')
  );
}

/** The same of a response whose head alone is known; of a call only where that is all there is. */
export function isFailedAnswer({ status, grpcStatus }: Exchange): boolean {
  return status >= 500 || isGrpcFailure(grpcStatus);
}

/** Milliseconds to the first response byte, or to the end where there was none. */
export function latencyOf({ startedAt, firstByteAt }: Exchange): number {
  return (firstByteAt > 0 ? firstByteAt : performance.now()) - startedAt;
}

/** Interim responses of one request. */
export const maxInterim = 64;

/** RFC 9110 section 9.2.2: sending these twice does what sending them once does. */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export function isIdempotent(method: string): boolean {
  return idempotent.has(method);
}

/** Of one request, its retries by policy included; a policy alone may go beyond. */
const maxAttempts = 5;

/** Whether a try that failed may be made again without being asked for. */
export function mayRepeat(retry: Retry, { method, attempts }: Exchange): boolean {
  if (attempts >= maxAttempts) return false;
  switch (retry) {
    case 'yes':
      return true;
    case 'once':
      return attempts === 1;
    case 'idempotent':
      return isIdempotent(method);
    case 'no':
      return false;
  }
}

export interface Http1Target {
  /** Gives a carrier for the exchange's next try; calls back once, possibly at once. */
  acquire(exchange: Exchange, callback: CarrierCallback): void;
}

export interface Http2Target {
  /** Gives a session for the exchange's next try; tells the user once, possibly at once. */
  acquireSession(exchange: Exchange, user: SessionUser): void;
}

export interface HttpObserver {
  /** A request was parsed, and `acquire` not asked yet: the time to edit it for all tries, to set its deadline and limits. */
  requestBegin(exchange: Exchange): void;
  /** A try is over: the endpoint answered (its final head is read) or failed. At most once per try. */
  attemptEnd(exchange: Exchange, error: ProxyError | undefined): void;
  /** The exchange is over, whatever became of it. Called exactly once per request that was parsed. */
  requestEnd(exchange: Exchange): void;
}

/** What both engines are given. */
export interface HttpOptions {
  observer: HttpObserver;
  timers: TimerWheel;
  /** Whether the client may see the `mesh-error` header. */
  errorHeader: boolean;
  /** Called once when the client's connection is over. */
  onClose(): void;
  /** Malformed requests, with code; they are answered, not forwarded. */
  onRefused(code: string): void;
}

export interface Http1Options extends HttpOptions {
  target: Http1Target;
  /**
   * Where the client is another proxy: called in place of an error response when the server is lost before its
   * response, to break the connection off, so that the other proxy can try elsewhere.
   */
  onServerLost?: (error: ProxyError) => void;
  /** The server's connection is this client's alone, and hears which of its requests is the last. */
  serverAlone?: boolean;
}

export interface Http2Options extends HttpOptions {
  target: Http2Target;
  /** The client is another proxy: it hears by a reset that the server is lost, so that it can try elsewhere. */
  toProxy: boolean;
}
