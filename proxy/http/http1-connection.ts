/**
 * The HTTP/1 engine: serves one client connection, one exchange after another. Heads are parsed and checked on both
 * sides; bodies pass through as bytes with back-pressure. Nothing is allocated per request but what is written.
 */
import type { Duplex } from 'node:stream';
import type { ProxyError } from '../error.ts';
import { closeWith } from '../net/close-with.ts';
import { owned } from '../net/shared-reads.ts';
import { abort } from '../net/splice.ts';
import type { Timed } from '../net/timer-wheel.ts';
import { endTogether, writeTogether } from '../net/write-together.ts';
import { BodyFramer } from './body-framer.ts';
import { errorResponse } from './errors.ts';
import type { Http1Options } from './exchange.ts';
import { badBody, clientGone } from './failures.ts';
import { Gatherer } from './gatherer.ts';
import { HeadParser } from './head-parser.ts';
import { type Http1Client, Http1Exchange } from './http1-exchange.ts';
import { switchOver } from './switch-over.ts';

const headTimeoutMs = 60_000;
const idleTimeoutMs = 3_600_000;
const lingerMs = 2_000;

/** Between requests; reading a head; its request is on its way; bytes are spliced or discarded. */
type Phase = 'idle' | 'head' | 'exchange' | 'over';

const nothing = Buffer.alloc(0);

/** A request that is the last of its connection. */
function closes(head: HeadParser): boolean {
  return head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive);
}

export class Http1Connection implements Http1Client, Timed {
  deadline = 0;
  readonly #client: Duplex;
  readonly #options: Http1Options;
  readonly #request = new HeadParser('request');
  readonly #requestBody = new BodyFramer();
  readonly #requestHeads = new Gatherer();
  readonly #exchange: Http1Exchange;
  #phase: Phase = 'idle';
  /** Client bytes not looked at yet: a head cut short, or what came behind the request at hand. */
  #pending: Buffer | undefined;
  #draining = false;
  #clientEnded = false;
  /** It has not taken the responses so far: no other request of its is begun until it has. */
  #clientFull = false;
  #working = false;
  #closed = false;

  constructor(client: Duplex, initial: Buffer | undefined, options: Http1Options) {
    this.#client = client;
    this.#options = options;
    this.#exchange = new Http1Exchange(this, options, this.#request, this.#requestBody);
    options.timers.add(this);
    this.deadline = options.timers.now + headTimeoutMs;
    client.on('data', (chunk: Buffer) => this.#onClientData(chunk));
    client.on('end', () => this.#onClientEnd());
    client.on('drain', () => this.#onClientDrain());
    client.on('error', () => this.#onClientGone());
    client.on('close', () => {
      this.#onClientGone();
      // Node holds on to a socket for a while; what listened to it can be collected at once.
      client.removeAllListeners();
    });
    if (initial && initial.length > 0) this.#onClientData(initial);
    if (client.readableEnded) this.#onClientEnd();
    else if (!this.#pending || this.#phase !== 'exchange') client.resume();
  }

  /** Finishes the exchange at hand, then ends the connection; at once where there is none. */
  drain(): void {
    this.#draining = true;
    this.#exchange.closeAfter = true;
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

  // === The client's bytes ===

  #onClientData(chunk: Buffer): void {
    if (this.#phase === 'over') return;
    if (this.#phase !== 'exchange') {
      // The head is looked at until the response is complete.
      this.#pending = this.#requestHeads.join(this.#pending, owned(chunk));
      this.#readRequests();
    } else if (this.#requestBody.done || this.#exchange.acquiring) {
      this.#pending = this.#pending ? Buffer.concat([this.#pending, chunk]) : owned(chunk);
      this.#client.pause();
    } else this.#onBody(chunk);
  }

  #onBody(chunk: Buffer): void {
    const end = this.#requestBody.take(chunk, 0);
    if (this.#requestBody.error) return this.#abort(badBody(this.#requestBody.error));
    const body = end === chunk.length ? chunk : chunk.subarray(0, end);
    if (end < chunk.length) {
      this.#pending = owned(chunk.subarray(end));
      this.#client.pause();
    }
    this.#exchange.send(body);
  }

  #onClientEnd(): void {
    this.#clientEnded = true;
    if (this.#heldBack && this.#phase === 'idle') return;
    if (this.#phase === 'idle' || this.#phase === 'head') this.#endClient();
    else if (this.#phase === 'exchange' && !this.#requestBody.done) {
      this.#abort(clientGone('the client ended inside its request'));
    } else if (!this.#pending) this.#exchange.closeAfter = true;
  }

  #onClientDrain(): void {
    this.#clientFull = false;
    this.#exchange.resume();
    if (this.#phase === 'idle') this.#goOn();
  }

  #onClientGone(): void {
    if (this.#closed) return;
    this.#closed = true;
    const inExchange = this.#phase === 'exchange';
    this.#phase = 'over';
    if (inExchange) this.#exchange.fail(clientGone('the client closed before the response was complete'));
    this.#options.timers.remove(this);
    this.#client.destroy();
    this.#options.onClose();
  }

  /** Behind the `last` of its answer. `deaf`: nothing more comes from it. */
  #endClient(last: Buffer = nothing, deaf = this.#clientEnded): void {
    this.#phase = 'over';
    this.deadline = this.#options.timers.now + lingerMs;
    if (deaf) return closeWith(this.#client, last);
    if (last.length > 0) writeTogether(this.#client, last, false);
    endTogether(this.#client);
    this.#client.resume();
  }

  // === Requests ===

  /** What it asks next waits for it to read. */
  get #heldBack(): boolean {
    return this.#clientFull && this.#pending !== undefined;
  }

  /** Works off what is pending; a loop rather than recursion, since one chunk may hold many requests. */
  #readRequests(): void {
    if (this.#working) return;
    this.#working = true;
    while (this.#pending && !this.#clientFull && (this.#phase === 'idle' || this.#phase === 'head')) {
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
    if (this.#heldBack) this.#client.pause();
  }

  #begin(buffer: Buffer, headEnd: number): void {
    const head = this.#request;
    this.deadline = 0;
    this.#requestBody.start(head.chunked ? 'chunked' : head.contentLength > 0 ? 'length' : 'none', head.contentLength);
    const end = this.#requestBody.take(buffer, headEnd);
    if (this.#requestBody.error) return this.#refuse(this.#requestBody.error);
    // The rest of the body will never come.
    if (this.#clientEnded && !this.#requestBody.done) return this.#endClient();
    this.#phase = 'exchange';
    const last = (this.#clientEnded && end === buffer.length) || this.#draining;
    const closeAfter = closes(head) || last;
    if (end < buffer.length) {
      this.#pending = buffer.subarray(end);
      this.#client.pause();
    }
    this.#exchange.begin(end === buffer.length ? buffer : buffer.subarray(0, end), headEnd, closeAfter);
  }

  // === From the exchange ===

  write(bytes: Buffer, more: boolean): boolean {
    this.#clientFull = !writeTogether(this.#client, bytes, more);
    return !this.#clientFull;
  }

  onFull(): void {
    this.#client.pause();
  }

  onRoom(): void {
    if (this.#phase === 'exchange' && !this.#pending && !this.#clientEnded) this.#client.resume();
  }

  onBegun(open: boolean): void {
    if (!open) this.#client.pause();
    const waiting = this.#pending;
    if (waiting && !this.#requestBody.done) {
      this.#pending = undefined;
      this.#onBody(waiting);
    }
    if (open && !this.#pending && !this.#clientEnded) this.#client.resume();
  }

  onComplete(last: Buffer | undefined): void {
    if (this.#exchange.closeAfter) return this.#endClient(last, this.#saidLast);
    this.#phase = 'idle';
    this.deadline = this.#options.timers.now + idleTimeoutMs;
    this.#goOn();
  }

  /** Of the request at hand: nothing comes behind it. */
  get #saidLast(): boolean {
    return this.#clientEnded || (closes(this.#request) && this.#requestBody.done && !this.#pending);
  }

  /** Behind a response: what the client asks next. */
  #goOn(): void {
    if (this.#pending) this.#readRequests();
    const now: Phase = this.#phase as Phase;
    if (now === 'exchange' || this.#heldBack) return;
    if (!this.#clientEnded) this.#client.resume();
    else if (now !== 'over') this.#endClient();
  }

  onSwitch(server: Duplex): void {
    this.#phase = 'over';
    this.deadline = 0;
    this.#client.removeAllListeners('data').removeAllListeners('end').removeAllListeners('drain');
    switchOver(this.#client, server, this.#pending, this.#exchange.record, this.#options.observer);
    this.#pending = undefined;
  }

  /** An error response where none was begun, a cut connection otherwise. */
  onFailed(error: ProxyError, begun: boolean): void {
    this.#phase = 'over';
    if (begun || error.source === 'client') {
      if (!begun && !this.#client.destroyed && error.code !== 'client-gone') return this.#refuse(error.code);
      // An orderly end would make it look whole.
      if (this.#exchange.endsWithConnection) abort(this.#client, error);
      else this.#client.destroy();
      return;
    }
    // A malformed response is an answer: no other endpoint is to be asked in its place.
    if (error.source === 'server' && error.code !== 'bad-response' && this.#options.onServerLost) {
      this.#options.onServerLost(error);
      return;
    }
    const { method, responseEdit: edit } = this.#exchange.record;
    const { errorHeader: header } = this.#options;
    const answer = errorResponse(error.code, error.message, { header, head: method === 'HEAD', edit });
    this.#endClient(answer, this.#saidLast);
  }

  /** For the client's fault. */
  #abort(error: ProxyError): void {
    const { begun } = this.#exchange;
    this.#exchange.fail(error);
    this.onFailed(error, begun);
  }

  /** A request that is not forwarded at all. */
  #refuse(code: string): void {
    this.#options.onRefused(code);
    this.#client.write(
      errorResponse(code, '', { header: this.#options.errorHeader, head: this.#request.method === 'HEAD' }),
    );
    this.#endClient();
  }
}
