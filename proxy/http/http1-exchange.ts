/**
 * The server's side of the HTTP/1 engine: a request tried until a server answers, and its response read. One object per
 * client connection, used for one request after another.
 */
import type { Duplex } from 'node:stream';
import type { Carrier, CarrierHandler } from '../carrier.ts';
import { ProxyError } from '../error.ts';
import { owned } from '../net/shared-reads.ts';
import { type ClockUser, ExchangeClock } from '../resilience/exchange-clock.ts';
import { BodyFramer } from './body-framer.ts';
import {
  beginAgain,
  beginExchange,
  type Exchange,
  type Http1Options,
  maxInterim,
  mayRepeat,
  newExchange,
} from './exchange.ts';
import { badResponse, responseLost } from './failures.ts';
import { Gatherer } from './gatherer.ts';
import { Http1Fields } from './head-fields.ts';
import { HeadParser } from './head-parser.ts';
import { Replay } from './replay.ts';
import { closeLine, edited, keepAliveLine, without } from './rewrite.ts';

/** The client's side, as its exchange sees it. */
export interface Http1Client {
  /**
   * Bytes of the response; `more` of it is sure to follow. False: the client has to catch up, and calls `resume()` when
   * it has.
   */
  write(bytes: Buffer, more: boolean): boolean;
  /** A try has been given what there was of the request. False: the server has to catch up. */
  onBegun(open: boolean): void;
  /** The server has to catch up with the request; `onRoom` tells when it has. */
  onFull(): void;
  onRoom(): void;
  /** The response is complete. `last`: the end of it, which is not written yet; only where the connection ends too. */
  onComplete(last: Buffer | undefined): void;
  /** A 101 is written: from here on the bytes are the applications' own. */
  onSwitch(server: Duplex): void;
  /** It failed for good, and is told to the observer. `begun`: a part of the response is written. */
  onFailed(error: ProxyError, begun: boolean): void;
}

export class Http1Exchange implements CarrierHandler, ClockUser {
  readonly record: Exchange;
  /** The connection ends with this response. */
  closeAfter = false;
  readonly #client: Http1Client;
  readonly #options: Http1Options;
  readonly #request: HeadParser;
  readonly #requestBody: BodyFramer;
  readonly #requestFields: Http1Fields;
  readonly #response = new HeadParser('response');
  readonly #responseBody = new BodyFramer();
  readonly #responseFields = new Http1Fields(this.#response);
  readonly #responseHeads = new Gatherer();
  /** The request: first its head with what came in one piece with it, then the rest of its body. */
  readonly #replay = new Replay();
  #headEnd = 0;
  #carrier: Carrier | undefined;
  #acquiring = false;
  #over = true;
  #responseHead: Buffer | undefined;
  #responseStarted = false;
  #interim = 0;
  #serverCloses = false;
  /** Of a request that is held to some time, and that of an earlier one, to be used again. */
  #clock: ExchangeClock | undefined;
  #spareClock: ExchangeClock | undefined;
  readonly #acquired = (error: ProxyError | undefined, carrier: Carrier | undefined): void =>
    this.#onAcquired(error, carrier);

  /** `request`, `requestBody`: of the request at hand; the client's side reads them. */
  constructor(client: Http1Client, options: Http1Options, request: HeadParser, requestBody: BodyFramer) {
    this.#client = client;
    this.#options = options;
    this.#request = request;
    this.#requestBody = requestBody;
    this.#requestFields = new Http1Fields(request);
    this.record = newExchange(this.#requestFields);
  }

  // === Request ===

  /** A request whose head, in order, ends at `headEnd`; what follows is of its body. */
  begin(bytes: Buffer, headEnd: number, closeAfter: boolean): void {
    beginExchange(this.record, this.#request.method);
    this.closeAfter = closeAfter;
    this.#over = false;
    this.#responseStarted = false;
    this.#responseHead = undefined;
    this.#headEnd = headEnd;
    this.#requestFields.hold(bytes, headEnd);
    this.#replay.begin();
    this.#options.observer.requestBegin(this.record);
    if (this.record.deadline > 0 || this.record.limits) {
      this.#spareClock ??= new ExchangeClock(this.#options.timers, this.record, this);
      this.#clock = this.#spareClock;
      this.#clock.start();
    }
    this.send(bytes);
    this.#acquire();
  }

  /** No try has a connection yet: what comes of the body has to wait. */
  get acquiring(): boolean {
    return this.#acquiring;
  }

  /** A part of the response is written. */
  get begun(): boolean {
    return this.#responseStarted;
  }

  /** Nothing but the end of the connection tells the end of the response that is written. */
  get endsWithConnection(): boolean {
    return this.#responseStarted && this.#responseBody.framing === 'until-close';
  }

  send(bytes: Buffer): void {
    this.record.sentBytes += bytes.length;
    this.#clock?.used();
    if (!this.#carrier) {
      this.#replay.hold(bytes);
      return;
    }
    this.#replay.add(bytes);
    if (!this.#carrier.write(bytes, !this.#requestBody.done)) this.#client.onFull();
  }

  /** The client has caught up with the response. */
  resume(): void {
    this.#carrier?.resume();
  }

  /** Ends it, for the observer too. */
  fail(error: ProxyError): void {
    const carrier = this.#carrier;
    this.#carrier = undefined;
    carrier?.destroy();
    this.record.error = error;
    this.#end();
  }

  // === Tries ===

  #acquire(): void {
    if (this.#clock?.late) return this.#clock.expire();
    this.#acquiring = true;
    this.record.attempts++;
    this.#clock?.tryBegins();
    this.#options.target.acquire(this.record, this.#acquired);
  }

  onWaited(): void {
    this.#acquire();
  }

  onExpired(error: ProxyError): void {
    this.#attemptFailed(error);
  }

  #onAcquired(error: ProxyError | undefined, carrier: Carrier | undefined): void {
    this.#acquiring = false;
    if (this.#over) {
      carrier?.destroy();
      return;
    }
    if (!carrier) return this.#attemptFailed(error ?? new ProxyError('internal', 'no carrier', { source: 'proxy' }));
    this.#carrier = carrier;
    carrier.handler = this;
    this.#response.reset();
    this.#interim = 0;
    const { chunks } = this.#replay;
    const more = !this.#requestBody.done;
    let open = carrier.write(this.#head(chunks[0]!), more || chunks.length > 1);
    for (let i = 1; i < chunks.length; i++) open = carrier.write(chunks[i]!, more || i < chunks.length - 1);
    this.#replay.trim();
    this.#client.onBegun(open);
  }

  /** As it goes to this try's server. */
  #head(bytes: Buffer): Buffer {
    const { dropped } = this.#request;
    const edit = this.record.requestEdit;
    // Whoever closes first keeps the port in TIME_WAIT: that is the server's to do, as it were without a proxy.
    const last = this.closeAfter && !this.#request.upgrade;
    const line = last && this.#options.serverAlone ? closeLine : undefined;
    if (edit) return edited(bytes, bytes.length, dropped, line, this.#headEnd, edit);
    return without(bytes, bytes.length, dropped, line, line ? this.#headEnd : 0);
  }

  #attemptFailed(cause: ProxyError): void {
    const error = this.#clock?.reason(cause) ?? cause;
    const exchange = this.record;
    const carrier = this.#carrier;
    this.#carrier = undefined;
    carrier?.destroy();
    // A try that was answered is over already; what becomes of the rest of the response is told by requestEnd.
    if (!this.#responseStarted) this.#options.observer.attemptEnd(exchange, error);
    const safe = mayRepeat(error.retry, exchange);
    if (safe && this.#replay.whole && !this.#responseStarted) return this.#acquire();
    if (this.#again(error)) return;
    this.fail(error);
    this.#client.onFailed(error, this.#responseStarted);
  }

  /** Whether the target's policy has it tried again, after a while. */
  #again(error: ProxyError | undefined): boolean {
    const { record } = this;
    // What a try that waits for its connection was to become is not known: it cannot be followed by another.
    if (!record.limits || this.#responseStarted || this.#acquiring || !this.#replay.whole) return false;
    const wait = record.limits.again(record, error);
    if (wait < 0) return false;
    this.#acquiring = true;
    beginAgain(record);
    this.#clock?.wait(wait);
    return true;
  }

  // === Response ===

  onCarrierData(chunk: Buffer): void {
    this.#clock?.used();
    if (!this.#responseStarted && this.record.firstByteAt === 0) {
      this.record.firstByteAt = performance.now();
    }
    if (this.#responseStarted) return this.#onBody(chunk, 0, undefined);
    this.#readHead(this.#responseHeads.join(this.#responseHead, chunk));
  }

  /** A loop rather than recursion, since one chunk may hold many interim heads. */
  #readHead(buffer: Buffer): void {
    const head = this.#response;
    let rest = buffer;
    for (;;) {
      const end = head.parse(rest, 0);
      if (end === 0) {
        this.#responseHead = owned(rest);
        return;
      }
      this.#responseHead = undefined;
      this.#responseHeads.clear();
      if (end < 0) return this.#attemptFailed(badResponse(`the response's head is malformed: ${head.error}`));
      if (head.status >= 200 || head.status === 101) return this.#onHead(rest, end);
      if (++this.#interim > maxInterim) return this.#attemptFailed(badResponse('interim responses without end'));
      // HTTP/1.0 knows no interim responses (RFC 9110 section 15.2).
      if (this.#request.minor === 1) this.#toClient(without(rest, end, head.dropped, undefined, 0));
      head.reset();
      if (end === rest.length) return;
      rest = rest.subarray(end);
    }
  }

  #onHead(buffer: Buffer, end: number): void {
    const head = this.#response;
    const { record } = this;
    if (head.status === 101 && !(head.upgrade && this.#request.upgrade && this.#requestBody.done)) {
      const message = 'the server switched protocols unasked or before the end of the request';
      return this.#attemptFailed(badResponse(message));
    }
    this.#responseFields.hold(buffer, end);
    if (this.#clock?.answersLate(this.#responseFields)) return;
    this.#clock?.answered();
    record.status = head.status;
    record.response = this.#responseFields;
    this.#options.observer.attemptEnd(record, undefined);
    const bodiless = record.method === 'HEAD' || head.status === 204 || head.status === 304;
    const framing = bodiless ? 'none' : head.chunked ? 'chunked' : head.contentLength >= 0 ? 'length' : 'until-close';
    this.#responseBody.start(framing, head.contentLength);
    const serverCloses = head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive);
    this.#serverCloses = serverCloses || framing === 'until-close';
    if (record.limits && this.#again(undefined)) return this.#leave(buffer, end);
    this.#responseStarted = true;
    if (head.status === 101) return this.#switch(buffer, end);
    let line: Buffer | undefined;
    if (framing === 'until-close' || !this.#requestBody.done) this.closeAfter = true;
    if (this.closeAfter) line = closeLine;
    else if (this.#request.minor === 0 || head.minor === 0) line = keepAliveLine;
    this.#onBody(buffer, end, line);
  }

  /** The response is not passed on. Its connection may be used again where all of it is here. */
  #leave(buffer: Buffer, headEnd: number): void {
    const end = this.#responseBody.take(buffer, headEnd);
    this.#letGo(end < buffer.length || !this.#responseBody.done || this.#responseBody.error !== undefined);
  }

  /** `start` > 0: the head lies before it and goes out with the first of the body. */
  #onBody(buffer: Buffer, start: number, line: Buffer | undefined): void {
    const end = this.#responseBody.take(buffer, start);
    if (this.#responseBody.error)
      return this.#attemptFailed(badResponse(`the response's body is malformed: ${this.#responseBody.error}`));
    const { done } = this.#responseBody;
    const whole = end === buffer.length;
    const bytes =
      start > 0 ? this.#responseHeadAnd(buffer, end, line, start) : whole ? buffer : buffer.subarray(0, end);
    if (done && this.closeAfter) return this.#complete(!whole, bytes);
    this.#toClient(bytes);
    if (done) this.#complete(!whole, undefined);
    else if (start > 0 && !this.#over) this.#responseFields.hold(owned(buffer.subarray(0, start)), start);
  }

  /** The head as it goes to the client, and what follows it up to `end`. */
  #responseHeadAnd(buffer: Buffer, end: number, line: Buffer | undefined, headEnd: number): Buffer {
    const { dropped } = this.#response;
    const edit = this.record.responseEdit;
    return edit
      ? edited(buffer, end, dropped, line, headEnd, edit)
      : without(buffer, end, dropped, line, line ? headEnd : 0);
  }

  #toClient(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.record.receivedBytes += bytes.length;
    if (!this.#client.write(bytes, this.#responseStarted && !this.#responseBody.done)) this.#carrier?.pause();
  }

  onCarrierDrain(): void {
    this.#client.onRoom();
  }

  onCarrierEnd(): void {
    if (this.#responseStarted && this.#responseBody.framing === 'until-close') return this.#complete(false, undefined);
    this.#carrierLost(undefined);
  }

  onCarrierClose(error: Error | undefined): void {
    this.#carrierLost(error);
  }

  #carrierLost(cause: Error | undefined): void {
    const silent = this.record.firstByteAt === 0;
    if (silent && cause instanceof ProxyError) return this.#attemptFailed(cause);
    // An idle connection that dies is the race every keep-alive has; a fresh one that does may be a request that
    // kills its server, and is not shown to a third.
    const again = silent && (this.#carrier?.reused === true || this.record.attempts === 1);
    this.#attemptFailed(responseLost(this.#responseStarted, again, cause));
  }

  // === Ends ===

  /** `last`: what is not written yet. */
  #complete(excess: boolean, last: Buffer | undefined): void {
    if (last) this.record.receivedBytes += last.length;
    this.#letGo(excess);
    this.#end();
    this.#client.onComplete(last);
  }

  /** `spoilt`: no other exchange can follow on the connection. */
  #letGo(spoilt: boolean): void {
    const carrier = this.#carrier!;
    this.#carrier = undefined;
    carrier.handler = undefined;
    // A server that has not taken up an offer to switch protocols may yet read what follows as something else.
    const unsure = spoilt || !this.#requestBody.done || this.#request.upgrade;
    if (unsure) carrier.destroy();
    else if (this.#serverCloses) carrier.retire();
    else carrier.release();
  }

  #switch(buffer: Buffer, headEnd: number): void {
    const carrier = this.#carrier!;
    this.#carrier = undefined;
    this.#over = true;
    this.#stopClock();
    this.#toClient(this.#responseHeadAnd(buffer, buffer.length, undefined, headEnd));
    this.#client.onSwitch(carrier.detach());
  }

  #stopClock(): void {
    this.#clock?.stop();
    this.#clock = undefined;
  }

  #end(): void {
    this.#over = true;
    this.#stopClock();
    this.#replay.clear();
    this.#options.observer.requestEnd(this.record);
    this.#requestFields.clear();
    this.#responseFields.clear();
  }
}
