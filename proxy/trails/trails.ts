/**
 * Follows requests and connections for the access log and for traces: begun where a request comes in, ended where it is
 * over. While neither is on, that is one comparison.
 */
import type { Ends, Entry } from '../access-log/entry.ts';
import { type AccessLogFormat, commonLine, jsonLine } from '../access-log/format.ts';
import type { LineWriter } from '../access-log/line-writer.ts';
import { type Exchange, editRequest } from '../http/exchange.ts';
import { grpcStatusNames } from '../http/grpc.ts';
import { Http1Fields } from '../http/head-fields.ts';
import type { SpliceCounters } from '../net/splice.ts';
import { newRequestId, newSpanId, newTraceId } from '../tracing/ids.ts';
import type { FinishedSpan } from '../tracing/span.ts';
import { formatTraceParent, parseTraceParent, type TraceParent } from '../tracing/trace-context.ts';
import { ConnectionTrail } from './connection-trail.ts';
import type { Trail } from './trail.ts';

type Direction = Entry['direction'];

/** A request id is the application's: a long one is shown cut, and passed on whole. */
const maxRequestId = 128;

export interface Tracing {
  /** Of traces that begin here, the share that is sampled: 0 to 1. */
  ratio: number;
  send(span: FinishedSpan): void;
}

export interface TrailsOptions {
  writer: LineWriter;
  /** 0 ≤ x < 1. */
  random?: () => number;
}

export class Trails {
  /** Whether requests are followed now. */
  active = false;
  readonly #writer: LineWriter;
  readonly #random: () => number;
  #format: AccessLogFormat = 'off';
  #tracing: Tracing | undefined;

  constructor({ writer, random = Math.random }: TrailsOptions) {
    this.#writer = writer;
    this.#random = random;
  }

  set format(format: AccessLogFormat) {
    this.#format = format;
    this.active = format !== 'off' || this.#tracing !== undefined;
  }

  set tracing(tracing: Tracing | undefined) {
    this.#tracing = tracing;
    this.active = tracing !== undefined || this.#format !== 'off';
  }

  // === Requests ===

  /** Before its first try: what the server is to hear of ids is put into its head. Only while `active`. */
  begin(exchange: Exchange): void {
    const { request } = exchange;
    let requestId = request.value('x-request-id') ?? '';
    if (requestId === '') {
      requestId = newRequestId();
      editRequest(exchange).set('x-request-id', requestId);
    }
    const trail: Trail = {
      startedAt: Date.now(),
      requestId: requestId.slice(0, maxRequestId),
      traceId: '',
      span: undefined,
    };
    exchange.trail = trail;
    const parent = parseTraceParent(request.value('traceparent'));
    if (this.#tracing) this.#trace(this.#tracing, exchange, trail, parent);
    else trail.traceId = parent?.traceId ?? '';
  }

  /** W3C Trace Context, section 4.3: what was decided of a trace stands; one that is none begins anew, unsampled ones too. */
  #trace({ ratio }: Tracing, exchange: Exchange, trail: Trail, parent: TraceParent | undefined): void {
    trail.traceId = parent?.traceId ?? newTraceId();
    const sampled = parent?.sampled ?? this.#random() < ratio;
    if (parent && !sampled) return;
    const spanId = newSpanId();
    editRequest(exchange).set('traceparent', formatTraceParent({ traceId: trail.traceId, spanId, sampled }));
    // The state of a trace that nobody can name means nothing.
    if (!parent) editRequest(exchange).drop('tracestate');
    if (!sampled) return;
    const traceState = parent && exchange.request.value('tracestate');
    trail.span = { spanId, parentSpanId: parent?.spanId, traceState };
  }

  /** It is over; only where it was begun. */
  end(exchange: Exchange, trail: Trail, direction: Direction, ends: Ends): void {
    exchange.trail = undefined;
    const { request, grpc, startedAt } = exchange;
    const protocol = grpc ? 'grpc' : request instanceof Http1Fields ? 'http1' : 'http2';
    const path = withoutQuery(request.path);
    const durationMs = performance.now() - startedAt;
    if (this.#format !== 'off') {
      this.#write({
        ...{ direction, protocol, time: trail.startedAt, durationMs, ...ends },
        requestBytes: exchange.sentBytes,
        responseBytes: exchange.receivedBytes,
        error: exchange.error?.code ?? null,
        request: {
          method: exchange.method,
          authority: request.authority,
          path,
          status: exchange.status,
          grpcStatus: grpc ? (grpcStatusNames[exchange.grpcStatus] ?? 'CANCELLED') : null,
          firstByteMs: exchange.firstByteAt > 0 ? exchange.firstByteAt - startedAt : null,
          attempts: exchange.attempts,
          requestId: trail.requestId,
          traceId: trail.traceId,
        },
      });
    }
    if (!trail.span || !this.#tracing) return;
    const { workload, identity } = direction === 'outbound' ? ends.server : ends.client;
    this.#tracing.send({
      ...trail.span,
      ...{ kind: direction === 'outbound' ? 'client' : 'server', traceId: trail.traceId, protocol, path, durationMs },
      start: trail.startedAt,
      method: exchange.method,
      authority: request.authority,
      status: exchange.status,
      grpcStatus: exchange.grpcStatus,
      requestId: trail.requestId,
      attempts: exchange.attempts,
      error: exchange.error?.code,
      peer: direction === 'outbound' ? (ends.endpoint ?? undefined) : undefined,
      peerWorkload: workload,
      peerIdentity: identity,
      service: ends.service,
    });
  }

  // === Connections ===

  /** Counts for `series` too; undefined while the log is off. */
  connection(direction: Direction, ends: Ends, series: SpliceCounters): ConnectionTrail | undefined {
    if (this.#format === 'off') return undefined;
    return new ConnectionTrail(series, direction, ends, (entry) => this.#write(entry));
  }

  #write(entry: Entry): void {
    if (this.#format === 'off') return;
    this.#writer.write(this.#format === 'json' ? jsonLine(entry) : commonLine(entry));
  }
}

/** A query may hold what nobody should read in a log. */
function withoutQuery(path: string): string {
  const at = path.indexOf('?');
  return at < 0 ? path : path.slice(0, at);
}
