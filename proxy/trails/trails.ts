/**
 * Follows requests and connections for the access log and for traces: begun where a request comes in, ended where it is
 * over. While neither is on, that is one comparison.
 */
import { randomUUID } from 'node:crypto';
import type { Ends, Entry } from '../access-log/entry.ts';
import { type AccessLogFormat, commonLine, jsonLine } from '../access-log/format.ts';
import type { LineWriter } from '../access-log/line-writer.ts';
import { type Exchange, editRequest } from '../http/exchange.ts';
import { grpcStatusNames } from '../http/grpc.ts';
import { Http1Fields } from '../http/head-fields.ts';
import type { SpliceCounters } from '../net/splice.ts';
import { newSpanId, newTraceId } from '../tracing/ids.ts';
import type { FinishedSpan } from '../tracing/span.ts';
import { formatTraceParent, parseTraceParent } from '../tracing/trace-context.ts';
import { ConnectionTrail } from './connection-trail.ts';
import type { Trail } from './trail.ts';

type Direction = Entry['direction'];

/** Characters of what a client says that are kept; it is passed on whole. Lines and spans wait, many of them, in memory. */
const maxText = 1024;
const maxRequestId = 128;
/** As much as a `tracestate` has to be good for (W3C Trace Context, section 3.3.1.5); cut it would mean something else. */
const maxTraceState = 512;

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
    let requestId = request.value('x-request-id');
    if (!requestId) {
      const said = requestId;
      requestId = randomUUID();
      put(exchange, 'x-request-id', requestId, said);
    }
    const trail: Trail = {
      startedAt: Date.now(),
      requestId: start(requestId, maxRequestId),
      traceId: '',
      span: undefined,
    };
    exchange.trail = trail;
    if (this.#tracing) this.#trace(this.#tracing, exchange, trail);
    else trail.traceId = parseTraceParent(request.value('traceparent'))?.traceId ?? '';
  }

  /** W3C Trace Context, section 4.3: what was decided of a trace stands; one that is none begins anew, unsampled ones too. */
  #trace({ ratio }: Tracing, exchange: Exchange, trail: Trail): void {
    const { request } = exchange;
    const said = request.value('traceparent');
    const one = parseTraceParent(said);
    // Of several none can be the one that is meant.
    const parent = one && request.count('traceparent') === 1 ? one : undefined;
    trail.traceId = parent?.traceId ?? newTraceId();
    const sampled = parent?.sampled ?? this.#random() < ratio;
    if (parent && !sampled) return;
    const spanId = newSpanId();
    put(exchange, 'traceparent', formatTraceParent({ traceId: trail.traceId, spanId, sampled }), said);
    const traceState = request.value('tracestate');
    // The state of a trace that nobody can name means nothing.
    if (!parent && traceState !== undefined) editRequest(exchange).drop('tracestate');
    if (!sampled) return;
    const told = parent && traceState !== undefined && traceState.length <= maxTraceState;
    trail.span = { spanId, parentSpanId: parent?.spanId, traceState: told ? traceState : undefined };
  }

  /** It is over; only where it was begun. */
  end(exchange: Exchange, trail: Trail, direction: Direction, ends: Ends): void {
    exchange.trail = undefined;
    const { span } = trail;
    if (this.#format === 'off' && !span) return;
    const { request, grpc, startedAt } = exchange;
    const protocol = grpc ? 'grpc' : request instanceof Http1Fields ? 'http1' : 'http2';
    const method = start(exchange.method);
    const authority = start(request.authority);
    const path = withoutQuery(start(request.path));
    const durationMs = performance.now() - startedAt;
    if (this.#format !== 'off') {
      this.#write({
        ...{ direction, protocol, time: trail.startedAt, durationMs, ...ends },
        requestBytes: exchange.sentBytes,
        responseBytes: exchange.receivedBytes,
        error: exchange.error?.code ?? null,
        request: {
          method,
          authority,
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
    if (!span || !this.#tracing) return;
    const { workload, identity } = direction === 'outbound' ? ends.server : ends.client;
    this.#tracing.send({
      ...span,
      ...{ kind: direction === 'outbound' ? 'client' : 'server', traceId: trail.traceId, protocol, path, durationMs },
      start: trail.startedAt,
      ...{ method, authority },
      status: exchange.status,
      grpcStatus: exchange.grpcStatus,
      requestId: trail.requestId,
      attempts: exchange.attempts,
      error: exchange.error?.code,
      peer: direction === 'outbound' ? (ends.endpoint ?? undefined) : undefined,
      clientAddress: ends.clientAddress ?? undefined,
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

/** `said`: what the sender says by that name; nothing is looked for where that is undefined. */
function put(exchange: Exchange, name: string, value: string, said: string | undefined): void {
  const edit = editRequest(exchange);
  if (said === undefined) edit.add(name, value);
  else edit.set(name, value);
}

/** Copied where it is cut: a part of a string holds all of it. */
function start(text: string, most = maxText): string {
  return text.length <= most ? text : Buffer.from(text.slice(0, most)).toString();
}

/** A query may hold what nobody should read in a log. */
function withoutQuery(path: string): string {
  const at = path.indexOf('?');
  return at < 0 ? path : path.slice(0, at);
}
