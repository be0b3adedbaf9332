/**
 * The HTTP/1 engine: serves one client connection, one exchange after another. Heads are parsed and checked on both
 * sides; bodies pass through as bytes with back-pressure. Nothing is allocated per request but what is written.
 */
import type { Duplex } from 'node:stream';
import type { Carrier, CarrierHandler } from '../carrier.ts';
import { ProxyError } from '../error.ts';
import { passedOn } from '../net/reclaim.ts';
import type { Timed } from '../net/timer-wheel.ts';
import { BodyFramer } from './body-framer.ts';
import { errorResponse } from './errors.ts';
import { beginExchange, type Http1Options, isIdempotent, newExchange } from './exchange.ts';
import { badChunk, badResponse, clientGone, responseLost } from './failures.ts';
import { Gatherer } from './gatherer.ts';
import { HeadParser } from './head-parser.ts';
import { Replay } from './replay.ts';
import { closeLine, keepAliveLine, without } from './rewrite.ts';
import { switchOver } from './switch-over.ts';

const headTimeoutMs = 60_000;
const idleTimeoutMs = 3_600_000;
const lingerMs = 2_000;
const maxAttempts = 5;

/** Between requests; reading a head; its request is on its way; bytes are spliced or discarded. */
type Phase = 'idle' | 'head' | 'exchange' | 'over';

export class Http1Connection implements CarrierHandler, Timed {
  deadline = 0;
  readonly #client: Duplex;
  readonly #options: Http1Options;
  readonly #request = new HeadParser('request');
  readonly #response = new HeadParser('response');
  readonly #requestBody = new BodyFramer();
  readonly #responseBody = new BodyFramer();
  readonly #exchange = newExchange();
  #phase: Phase = 'idle';
  /** Client bytes not looked at yet: a head cut short, or what came behind the request at hand. */
  #pending: Buffer | undefined;
  #carrier: Carrier | undefined;
  #acquiring = false;
  readonly #replay = new Replay();
  #responseHead: Buffer | undefined;
  readonly #requestHeads = new Gatherer();
  readonly #responseHeads = new Gatherer();
  #responseStarted = false;
  #closeAfter = false;
  #serverCloses = false;
  #draining = false;
  #clientEnded = false;
  #working = false;
  #closed = false;
  readonly #acquired = (error: ProxyError | undefined, carrier: Carrier | undefined): void =>
    this.#onAcquired(error, carrier);

  constructor(client: Duplex, initial: Buffer | undefined, options: Http1Options) {
    this.#client = client;
    this.#options = options;
    options.timers.add(this);
    this.deadline = options.timers.now + headTimeoutMs;
    client.on('data', (chunk: Buffer) => this.#onClientData(chunk));
    client.on('end', () => this.#onClientEnd());
    client.on('drain', () => this.#carrier?.resume());
    client.on('error', () => this.#onClientGone());
    client.on('close', () => this.#onClientGone());
    if (initial && initial.length > 0) this.#onClientData(initial);
    if (client.readableEnded) this.#onClientEnd();
    else if (!this.#pending || this.#phase !== 'exchange') client.resume();
  }

  /** Finishes the exchange at hand, then ends the connection; at once where there is none. */
  drain(): void {
    this.#draining = true;
    if (this.#phase === 'idle') this.#endClient();
  }

  destroy(): void {
    this.#client.destroy();
  }

  expire(): void {
    if (this.#phase === 'head') this.#refuse('head-timeout');
    else if (this.#phase === 'idle') this.#endClient();
    else if (this.#phase === 'over') this.#client.destroy();
  }

  // === Client side ===

  #onClientData(chunk: Buffer): void {
    if (this.#phase === 'over') return;
    if (this.#phase !== 'exchange') {
      this.#pending = this.#requestHeads.join(this.#pending, chunk);
      this.#readRequests();
    } else if (this.#requestBody.done || this.#acquiring) {
      this.#pending = this.#pending ? Buffer.concat([this.#pending, chunk]) : chunk;
      this.#client.pause();
    } else this.#onBody(chunk);
  }

  #onBody(chunk: Buffer): void {
    const end = this.#requestBody.take(chunk, 0);
    if (this.#requestBody.failed) return this.#abort(badChunk());
    const body = end === chunk.length ? chunk : chunk.subarray(0, end);
    if (end < chunk.length) {
      this.#pending = chunk.subarray(end);
      this.#client.pause();
    }
    this.#send(body);
  }

  #send(bytes: Buffer): void {
    this.#exchange.sentBytes += bytes.length;
    passedOn(bytes.length);
    if (!this.#carrier) {
      this.#replay.hold(bytes);
      return;
    }
    this.#replay.add(bytes);
    if (!this.#carrier.write(bytes)) this.#client.pause();
  }

  #onClientEnd(): void {
    this.#clientEnded = true;
    if (this.#phase === 'idle' || this.#phase === 'head') this.#endClient();
    else if (this.#phase === 'exchange' && !this.#requestBody.done) {
      this.#abort(clientGone('the client ended inside its request'));
    } else if (!this.#pending) this.#closeAfter = true;
  }

  #onClientGone(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#phase === 'exchange') this.#fail(clientGone('the client closed before the response was complete'));
    this.#phase = 'over';
    this.#options.timers.remove(this);
    this.#client.destroy();
    this.#options.onClose();
  }

  #endClient(): void {
    this.#phase = 'over';
    this.deadline = this.#options.timers.now + lingerMs;
    this.#client.end();
    if (!this.#clientEnded) this.#client.resume();
    else if (this.#client.writableFinished) this.#client.destroy();
  }

  // === Requests ===

  /** Works off what is pending; a loop rather than recursion, since one chunk may hold many requests. */
  #readRequests(): void {
    if (this.#working) return;
    this.#working = true;
    while (this.#pending && (this.#phase === 'idle' || this.#phase === 'head')) {
      const buffer = this.#pending;
      if (this.#phase === 'idle') {
        this.#phase = 'head';
        this.deadline = this.#options.timers.now + headTimeoutMs;
        this.#request.reset();
      }
      const end = this.#request.parse(buffer, 0);
      if (end === 0) break;
      this.#pending = undefined;
      this.#requestHeads.clear();
      if (end < 0) {
        this.#refuse(this.#request.error ?? 'internal');
        break;
      }
      this.#begin(buffer, end);
    }
    this.#working = false;
  }

  #begin(buffer: Buffer, headEnd: number): void {
    const head = this.#request;
    this.deadline = 0;
    this.#requestBody.start(head.chunked ? 'chunked' : head.contentLength > 0 ? 'length' : 'none', head.contentLength);
    const end = this.#requestBody.take(buffer, headEnd);
    if (this.#requestBody.failed) return this.#refuse('bad-chunk');
    // The rest of the body will never come.
    if (this.#clientEnded && !this.#requestBody.done) return this.#endClient();
    this.#phase = 'exchange';
    beginExchange(this.#exchange, head.method);
    const last = this.#clientEnded && end === buffer.length;
    this.#closeAfter = head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive) || last;
    this.#responseStarted = false;
    this.#responseHead = undefined;
    this.#replay.begin();
    if (end < buffer.length) this.#pending = buffer.subarray(end);
    this.#send(without(buffer, end, head.dropped, undefined, 0));
    this.#acquire();
  }

  #acquire(): void {
    this.#acquiring = true;
    this.#exchange.attempts++;
    this.#options.target.acquire(this.#exchange, this.#acquired);
  }

  #onAcquired(error: ProxyError | undefined, carrier: Carrier | undefined): void {
    this.#acquiring = false;
    if (this.#phase !== 'exchange') {
      carrier?.destroy();
      return;
    }
    if (!carrier) return this.#attemptFailed(error ?? new ProxyError('internal', 'no carrier', { source: 'proxy' }));
    this.#carrier = carrier;
    carrier.handler = this;
    this.#response.reset();
    let open = true;
    for (const bytes of this.#replay.chunks) open = carrier.write(bytes);
    if (!open) this.#client.pause();
    this.#replay.trim();
    const waiting = this.#pending;
    if (waiting && !this.#requestBody.done) {
      this.#pending = undefined;
      this.#onBody(waiting);
    }
    if (open && !this.#pending && !this.#clientEnded) this.#client.resume();
  }

  #attemptFailed(error: ProxyError): void {
    const exchange = this.#exchange;
    const carrier = this.#carrier;
    this.#carrier = undefined;
    carrier?.destroy();
    // A try that was answered is over already; what becomes of the rest of the response is told by requestEnd.
    if (!this.#responseStarted) this.#options.observer.attemptEnd(exchange, error);
    const safe = error.retry === 'yes' || (error.retry === 'idempotent' && isIdempotent(exchange.method));
    if (safe && this.#replay.whole && !this.#responseStarted && exchange.attempts < maxAttempts) return this.#acquire();
    this.#abort(error);
  }

  // === Server side ===

  onCarrierData(chunk: Buffer): void {
    if (!this.#responseStarted && this.#exchange.firstByteAt === 0) {
      this.#exchange.firstByteAt = performance.now();
    }
    if (this.#responseStarted) return this.#onResponseBody(chunk, 0, undefined);
    this.#readResponse(this.#responseHeads.join(this.#responseHead, chunk));
  }

  #readResponse(buffer: Buffer): void {
    const head = this.#response;
    const end = head.parse(buffer, 0);
    if (end === 0) {
      this.#responseHead = buffer;
      return;
    }
    this.#responseHead = undefined;
    this.#responseHeads.clear();
    if (end < 0) return this.#attemptFailed(badResponse(`the response's head is malformed: ${head.error}`));
    if (head.status < 200 && head.status !== 101) {
      // HTTP/1.0 knows no interim responses (RFC 9110 section 15.2).
      if (this.#request.minor === 1) this.#toClient(without(buffer, end, head.dropped, undefined, 0));
      const rest = buffer.subarray(end);
      head.reset();
      if (rest.length > 0) this.#readResponse(rest);
      return;
    }
    if (head.status === 101 && !(this.#request.upgrade && this.#requestBody.done)) {
      const message = 'the server switched protocols unasked or before the end of the request';
      return this.#attemptFailed(badResponse(message));
    }
    this.#responseStarted = true;
    this.#exchange.status = head.status;
    this.#options.observer.attemptEnd(this.#exchange, undefined);
    if (head.status === 101) return this.#switch(buffer, end);
    const bodiless = this.#exchange.method === 'HEAD' || head.status === 204 || head.status === 304;
    const framing = bodiless ? 'none' : head.chunked ? 'chunked' : head.contentLength >= 0 ? 'length' : 'until-close';
    this.#responseBody.start(framing, head.contentLength);
    let line: Buffer | undefined;
    if (framing === 'until-close' || this.#draining || !this.#requestBody.done) this.#closeAfter = true;
    if (this.#closeAfter) line = closeLine;
    else if (this.#request.minor === 0 || head.minor === 0) line = keepAliveLine;
    const serverCloses = head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive);
    this.#serverCloses = serverCloses || framing === 'until-close';
    this.#onResponseBody(buffer, end, line);
  }

  /** `start` > 0: the head lies before it and goes out with the first of the body. */
  #onResponseBody(buffer: Buffer, start: number, line: Buffer | undefined): void {
    const end = this.#responseBody.take(buffer, start);
    if (this.#responseBody.failed) return this.#attemptFailed(badResponse('a chunk of the response is malformed'));
    const bytes =
      start > 0
        ? without(buffer, end, this.#response.dropped, line, start)
        : end === buffer.length
          ? buffer
          : buffer.subarray(0, end);
    this.#toClient(bytes);
    if (this.#responseBody.done) this.#complete(end < buffer.length);
  }

  #toClient(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#exchange.receivedBytes += bytes.length;
    passedOn(bytes.length);
    if (!this.#client.write(bytes)) this.#carrier?.pause();
  }

  onCarrierDrain(): void {
    if (this.#phase === 'exchange' && !this.#pending && !this.#clientEnded) this.#client.resume();
  }

  onCarrierEnd(): void {
    if (this.#responseStarted && this.#responseBody.framing === 'until-close') return this.#complete(false);
    this.#carrierLost(undefined);
  }

  onCarrierClose(error: Error | undefined): void {
    this.#carrierLost(error);
  }

  #carrierLost(cause: Error | undefined): void {
    const silent = this.#exchange.firstByteAt === 0;
    if (silent && cause instanceof ProxyError) return this.#attemptFailed(cause);
    // An idle connection that dies is the race every keep-alive has; a fresh one that does may be a request that
    // kills its server, and is not shown to a third.
    const again = silent && (this.#carrier?.reused === true || this.#exchange.attempts === 1);
    this.#attemptFailed(responseLost(this.#responseStarted, again, cause));
  }

  // === Ends ===

  #complete(excess: boolean): void {
    const carrier = this.#carrier!;
    this.#carrier = undefined;
    carrier.handler = undefined;
    if (excess || this.#serverCloses || !this.#requestBody.done) carrier.destroy();
    else carrier.release();
    this.#replay.clear();
    this.#options.observer.requestEnd(this.#exchange);
    if (this.#closeAfter || this.#draining) return this.#endClient();
    this.#phase = 'idle';
    this.deadline = this.#options.timers.now + idleTimeoutMs;
    if (this.#pending) this.#readRequests();
    const now: Phase = this.#phase as Phase;
    if (now === 'exchange') return;
    if (!this.#clientEnded) this.#client.resume();
    else if (now !== 'over') this.#endClient();
  }

  /** 101: from here on the bytes are the applications' own. */
  #switch(buffer: Buffer, headEnd: number): void {
    const carrier = this.#carrier!;
    this.#carrier = undefined;
    this.#phase = 'over';
    this.deadline = 0;
    this.#exchange.receivedBytes += buffer.length;
    this.#client.write(without(buffer, headEnd, this.#response.dropped, undefined, 0));
    if (headEnd < buffer.length) this.#client.write(buffer.subarray(headEnd));
    this.#client.removeAllListeners('data').removeAllListeners('end').removeAllListeners('drain');
    switchOver(this.#client, carrier.detach(), this.#pending, this.#exchange, this.#options.observer);
    this.#pending = undefined;
  }

  /** A request that is not forwarded at all. */
  #refuse(code: string): void {
    this.#options.onRefused(code);
    this.#client.write(
      errorResponse(code, '', { header: this.#options.errorHeader, head: this.#request.method === 'HEAD' }),
    );
    this.#endClient();
  }

  /** The exchange failed for good: an error response where none was begun, a cut connection otherwise. */
  #abort(error: ProxyError): void {
    const begun = this.#responseStarted;
    this.#fail(error);
    if (begun || error.source === 'client') {
      if (!begun && !this.#client.destroyed && error.code === 'bad-chunk') return this.#refuse(error.code);
      this.#phase = 'over';
      this.#client.destroy();
      return;
    }
    // A malformed response is an answer: no other endpoint is to be asked in its place.
    if (error.source === 'server' && error.code !== 'bad-response' && this.#options.onServerLost) {
      this.#options.onServerLost(error);
      this.#phase = 'over';
      return;
    }
    const head = this.#exchange.method === 'HEAD';
    this.#client.write(errorResponse(error.code, error.message, { header: this.#options.errorHeader, head }));
    this.#endClient();
  }

  #fail(error: ProxyError): void {
    const carrier = this.#carrier;
    this.#carrier = undefined;
    carrier?.destroy();
    this.#phase = 'over';
    this.#replay.clear();
    this.#exchange.error = error;
    this.#options.observer.requestEnd(this.#exchange);
  }
}
