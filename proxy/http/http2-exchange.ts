/**
 * One request in HTTP/2: a stream of the client's and, try after try, one to a server. Heads and trailers are checked
 * and passed on as they are; content passes with the windows of either side, so that a slow reader stops the sender.
 */
import { ProxyError } from '../error.ts';
import { errorCode } from '../http2/frames.ts';
import type { HeaderList } from '../http2/header-list.ts';
import { type RequestHead, type ResponseHead, readResponse, readTrailer } from '../http2/message-rules.ts';
import type { MessageHandler, MessageStream } from '../http2/message-stream.ts';
import type { MessageSession, SessionUser } from '../http2/session-pool.ts';
import type { StreamReset } from '../http2/session-stream.ts';
import { type ClockUser, ExchangeClock } from '../resilience/exchange-clock.ts';
import { grpcStatusOf } from './errors.ts';
import {
  beginAgain,
  beginExchange,
  type Exchange,
  type Http2Options,
  maxInterim,
  mayRepeat,
  newExchange,
} from './exchange.ts';
import { badResponse, clientGone, resetFor, responseLost, streamReset } from './failures.ts';
import { readGrpcStatus } from './grpc.ts';
import { refuse } from './refuse.ts';
import { Replay } from './replay.ts';

export class Http2Exchange implements MessageHandler, SessionUser, ClockUser {
  readonly record: Exchange;
  readonly #options: Http2Options;
  readonly #client: MessageStream;
  readonly #list: HeaderList;
  readonly #head: RequestHead;
  #server: MessageStream | undefined;
  /** Its session had carried other streams before. */
  #reused = false;
  #acquiring = false;
  /** Content and trailer as they came, while the request may have to be sent again; no object without content. */
  #replay: Replay | undefined;
  #trailer: HeaderList | undefined;
  #requestEnded: boolean;
  #requestLeft: number;
  /** Of the client's content: handed on by this try, and given back as window. */
  #handedOn = 0;
  #credited = 0;
  #interim = 0;
  #responseStarted = false;
  #responseEnded = false;
  #responseLeft = -1;
  #over = false;
  /** Of a request that is held to some time. */
  #clock: ExchangeClock | undefined;
  /** A call's head, while its status may still have it tried again. */
  #heldHead: ResponseHead | undefined;

  /** Takes a request whose head is in order. */
  constructor(
    options: Http2Options,
    client: MessageStream,
    request: { list: HeaderList; head: RequestHead; end: boolean },
  ) {
    this.#options = options;
    this.#client = client;
    this.#list = request.list;
    this.#head = request.head;
    this.#requestEnded = request.end;
    this.#requestLeft = request.head.contentLength;
    client.handler = this;
    this.record = newExchange(request.list);
    beginExchange(this.record, request.head.method);
    this.record.grpc = request.head.grpc;
    this.record.sentBytes = request.list.block.length;
  }

  /** The final head of this try's response is there. */
  get #answered(): boolean {
    return this.#responseStarted || this.#heldHead !== undefined;
  }

  // === Tries ===

  begin(): void {
    this.#options.observer.requestBegin(this.record);
    if (this.#requestEnded && this.#requestLeft > 0) return this.#badRequest('the request is shorter than it says');
    if (this.record.deadline > 0 || this.record.limits) {
      this.#clock = new ExchangeClock(this.#options.timers, this.record, this);
      this.#clock.start();
    }
    this.#acquire();
  }

  #acquire(): void {
    if (this.#clock?.late) return this.#clock.expire();
    this.#acquiring = true;
    this.record.attempts++;
    this.#clock?.tryBegins();
    this.#options.target.acquireSession(this.record, this);
  }

  onSession(error: ProxyError | undefined, session: MessageSession | undefined): void {
    this.#acquiring = false;
    // The client has gone meanwhile; the session has not begun a stream for it.
    if (this.#over) return;
    if (!session) return this.#attemptFailed(error ?? new ProxyError('internal', 'no session', { source: 'proxy' }));
    this.#send(session);
  }

  #send(session: MessageSession): void {
    const { requestEdit } = this.record;
    const block = requestEdit ? requestEdit.applyTo(this.#list) : this.#list.block;
    if (this.#list.bytes > session.maxHeaderListBytes) {
      const message = 'the request has more headers than the server reads';
      return this.#attemptFailed(new ProxyError('head-too-large', message, { source: 'proxy' }));
    }
    const server = session.request(block, this.#requestEnded && !this.#replay && !this.#trailer);
    this.#server = server;
    this.#reused = server.id > 1;
    server.handler = this;
    this.#handedOn = 0;
    if (this.#replay) this.#sendHeld(server, this.#replay);
    if (this.#trailer) server.sendHeaders(this.#trailer.block, true);
  }

  /** What has come of the content so far; where the request has ended, its end with it. */
  #sendHeld(server: MessageStream, replay: Replay): void {
    replay.chunks.forEach((chunk, i) => {
      const last = this.#requestEnded && !this.#trailer && i === replay.chunks.length - 1;
      this.#handOn(server.sendData(chunk, last));
    });
    replay.trim();
  }

  #attemptFailed(cause: ProxyError, code?: number): void {
    const error = this.#clock?.reason(cause) ?? cause;
    const { record } = this;
    const server = this.#server;
    this.#server = undefined;
    server?.cancel(errorCode.cancel);
    // A try that was answered is over already; the server has seen its request.
    if (!this.#answered) this.#options.observer.attemptEnd(record, error);
    const safe = mayRepeat(error.retry, record);
    const whole = this.#replay?.whole ?? true;
    if (safe && whole && !this.#answered) {
      record.firstByteAt = 0;
      return this.#acquire();
    }
    if (!this.#again(error)) this.#abort(error, code);
  }

  /** Whether the target's policy has it tried again, after a while. */
  #again(error: ProxyError | undefined): boolean {
    const { record } = this;
    const { limits } = record;
    if (!limits || this.#responseStarted || this.#acquiring || !(this.#replay?.whole ?? true)) return false;
    // A call whose messages still come is a conversation.
    if (record.grpc && !this.#requestEnded) return false;
    const wait = limits.again(record, error);
    if (wait < 0) return false;
    const server = this.#server;
    this.#server = undefined;
    // What is complete both ways needs no reset.
    if (server?.localOpen || server?.remoteOpen) server.cancel(errorCode.cancel);
    else if (server) server.handler = undefined;
    this.#acquiring = true;
    this.#heldHead = undefined;
    this.#interim = 0;
    beginAgain(record);
    this.#clock?.wait(wait);
    return true;
  }

  onWaited(): void {
    this.#acquire();
  }

  onExpired(error: ProxyError): void {
    this.#attemptFailed(error, errorCode.cancel);
  }

  // === From the streams ===

  onHeaders(stream: MessageStream, list: HeaderList, end: boolean): void {
    this.#clock?.used();
    if (stream === this.#client) this.#onRequestTrailer(list, end);
    else if (!this.#answered) this.#onResponse(list, end);
    else this.#onResponseTrailer(list, end);
  }

  onData(stream: MessageStream, chunk: Buffer, end: boolean): void {
    this.#clock?.used();
    if (stream === this.#client) this.#onRequestData(chunk, end);
    else this.#onResponseData(chunk, end);
  }

  onSent(stream: MessageStream, bytes: number): void {
    if (stream === this.#client) this.#server?.credit(bytes);
    else this.#handOn(bytes);
  }

  onStopped(stream: MessageStream): void {
    if (stream === this.#client) return this.#onClientGone('the client took its request back');
    // The rest of the request is not wanted; the response was complete.
    this.#client.refuseRest();
  }

  onReset(stream: MessageStream, error: StreamReset): void {
    if (stream === this.#client) return this.#onClientGone(error.message, error.code);
    this.#server = undefined;
    if (this.#responseEnded) return this.#client.refuseRest();
    if (error.lost) return this.#lost(error);
    const meshed = this.record.endpoint?.identity !== undefined;
    this.#attemptFailed(streamReset(error, this.#answered, meshed), error.code);
  }

  /** The connection is gone. One that was idle dies in a race; a request that kills its server is not shown to a third. */
  #lost(cause: StreamReset): void {
    const again = this.#reused || this.record.attempts === 1;
    this.#attemptFailed(responseLost(this.#answered, again, cause));
  }

  #onClientGone(message: string, code: number = errorCode.cancel): void {
    const server = this.#server;
    this.#server = undefined;
    server?.cancel(code === errorCode.noError ? errorCode.cancel : code);
    this.#finish(clientGone(message));
  }

  // === Request ===

  #onRequestData(chunk: Buffer, end: boolean): void {
    if (end) this.#requestEnded = true;
    this.record.sentBytes += chunk.length;
    if (!this.#fits(chunk.length, end)) return this.#badRequest('the request is longer or shorter than it says');
    if (!this.#responseStarted && chunk.length > 0) this.#hold(chunk);
    const server = this.#server;
    if (server) this.#handOn(server.sendData(chunk, end));
    // An error was answered already: nobody wants the rest.
    else if (!this.#acquiring) this.#client.credit(chunk.length);
  }

  /** Until a response begins: the request may have to be sent again, or has not been sent at all. */
  #hold(chunk: Buffer): void {
    this.#replay ??= new Replay();
    if (this.#acquiring) this.#replay.hold(Buffer.from(chunk));
    else if (this.#replay.whole) this.#replay.add(Buffer.from(chunk));
  }

  #fits(bytes: number, end: boolean): boolean {
    if (this.#head.contentLength < 0) return true;
    this.#requestLeft -= bytes;
    return this.#requestLeft >= 0 && (!end || this.#requestLeft === 0);
  }

  #onRequestTrailer(list: HeaderList, end: boolean): void {
    const trailer = readTrailer(list);
    if (!end || typeof trailer === 'string') return this.#badRequest('a trailer of the request is malformed');
    this.#requestEnded = true;
    if (!this.#fits(0, true)) return this.#badRequest('the request is shorter than it says');
    this.#trailer = trailer;
    this.record.sentBytes += trailer.block.length;
    this.#server?.sendHeaders(trailer.block, true);
  }

  /** So many bytes need to wait no more. A later try begins again, with what was given back already. */
  #handOn(bytes: number): void {
    this.#handedOn += bytes;
    if (this.#handedOn <= this.#credited) return;
    this.#client.credit(this.#handedOn - this.#credited);
    this.#credited = this.#handedOn;
  }

  // === Response ===

  #onResponse(list: HeaderList, end: boolean): void {
    const head = readResponse(list);
    if (typeof head === 'string') return this.#badResponse(`its head is malformed: ${head}`);
    const { record } = this;
    const { block } = head.list;
    record.receivedBytes += block.length;
    if (record.firstByteAt === 0) record.firstByteAt = performance.now();
    if (head.status < 200) {
      // They come without a window that would hold them back.
      if (end || ++this.#interim > maxInterim) return this.#badResponse('interim heads without end');
      return this.#client.sendHeaders(block, false);
    }
    if (this.#clock?.answersLate(head.list)) return;
    const bodiless = record.method === 'HEAD' || head.status === 204 || head.status === 304;
    this.#responseLeft = bodiless ? 0 : head.contentLength;
    if (end && this.#responseLeft > 0) return this.#badResponse('it is shorter than it says');
    record.status = head.status;
    record.response = head.list;
    if (end && record.grpc) record.grpcStatus = readGrpcStatus(head.list);
    this.#clock?.answered();
    this.#options.observer.attemptEnd(record, undefined);
    if (record.limits) {
      if (record.grpc && !end && record.limits.retriesGrpc && head.status === 200) {
        this.#heldHead = head;
        return;
      }
      if (this.#again(undefined)) return;
    }
    this.#pass(head, end);
  }

  /** The head goes to the client, and with it the decision is made. */
  #pass(head: ResponseHead, end: boolean): void {
    const { responseEdit } = this.record;
    this.#heldHead = undefined;
    this.#responseStarted = true;
    this.#replay = undefined;
    this.#client.sendHeaders(responseEdit ? responseEdit.applyTo(head.list) : head.list.block, end);
    if (end) this.#responseDone(head.list);
  }

  #onResponseData(chunk: Buffer, end: boolean): void {
    if (this.#heldHead) this.#pass(this.#heldHead, false);
    if (!this.#responseStarted) return this.#badResponse('content comes before its head');
    if (this.#responseLeft >= 0) {
      this.#responseLeft -= chunk.length;
      if (this.#responseLeft < 0 || (end && this.#responseLeft > 0)) {
        return this.#badResponse('it is longer or shorter than it says');
      }
    }
    this.record.receivedBytes += chunk.length;
    const server = this.#server;
    const sent = this.#client.sendData(chunk, end);
    if (sent > 0) server?.credit(sent);
    if (end) this.#responseDone(undefined);
  }

  #onResponseTrailer(list: HeaderList, end: boolean): void {
    const trailer = readTrailer(list);
    if (!end || typeof trailer === 'string') return this.#badResponse('its trailer is malformed');
    if (this.#responseLeft > 0) return this.#badResponse('it is shorter than it says');
    this.record.receivedBytes += trailer.block.length;
    if (this.#heldHead) {
      this.record.grpcStatus = readGrpcStatus(trailer);
      if (this.#again(undefined)) return;
      this.#pass(this.#heldHead, false);
    }
    this.#client.sendHeaders(trailer.block, true);
    this.#responseDone(trailer);
  }

  #responseDone(last: HeaderList | undefined): void {
    this.#responseEnded = true;
    const { record } = this;
    if (record.grpc) record.grpcStatus = readGrpcStatus(last);
    this.#finish(undefined);
  }

  // === Ends ===

  #badRequest(message: string): void {
    const server = this.#server;
    this.#server = undefined;
    server?.cancel(errorCode.cancel);
    this.#client.cancel(errorCode.protocolError);
    this.#finish(clientGone(message));
  }

  #badResponse(what: string): void {
    this.#server?.cancel(errorCode.protocolError);
    this.#server = undefined;
    this.#attemptFailed(badResponse(`the response is malformed: ${what}`), errorCode.internalError);
  }

  /** It failed for good: an error response where none was begun, a reset otherwise. `code`: what the server ended it with. */
  #abort(error: ProxyError, code: number | undefined): void {
    const client = this.#client;
    const { toProxy, errorHeader } = this.#options;
    if (this.#responseStarted) client.cancel(afterResponse(code));
    else if (toProxy && error.source === 'server' && error.code !== 'bad-response') {
      client.cancel(resetFor(error, code ?? errorCode.connectError));
    } else if (error.code === 'stream-reset') client.cancel(afterResponse(code));
    else {
      const { method, grpc, responseEdit: edit } = this.record;
      if (grpc) this.record.grpcStatus = grpcStatusOf(error.code);
      refuse(client, error.code, error.message, { header: errorHeader, head: method === 'HEAD', grpc, edit });
    }
    this.#finish(error);
  }

  #finish(error: ProxyError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#clock?.stop();
    this.#replay = undefined;
    this.record.error = error;
    this.#options.observer.requestEnd(this.record);
  }
}

/** What a client hears whose response is cut off; never that its request was not looked at. */
function afterResponse(code: number | undefined): number {
  const usual = code === undefined || code === errorCode.refusedStream || code === errorCode.noError;
  return usual ? errorCode.internalError : code;
}
