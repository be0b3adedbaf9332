/** One HTTP/2 stream as a request and its response: heads, content and trailers, in order and with flow control. */
import { errorCode } from './frames.ts';
import type { HeaderList } from './header-list.ts';
import { SendQueue } from './send-queue.ts';
import { type SessionStream, type StreamOwner, StreamReset } from './session-stream.ts';

/** Who speaks through a stream. Nothing is told behind `onReset`, `cancel()`, or the end of both directions. */
export interface MessageHandler {
  /** A head, interim head or trailer; not the head that began the stream. */
  onHeaders(stream: MessageStream, list: HeaderList, end: boolean): void;
  /** The chunk is the reader's only during the call. It widens the window again with `credit()`. */
  onData(stream: MessageStream, chunk: Buffer, end: boolean): void;
  /** So many bytes that had to wait have been sent. */
  onSent(stream: MessageStream, bytes: number): void;
  /** The peer wants to hear no more; what it said was complete. */
  onStopped(stream: MessageStream): void;
  /** Ended out of order by the peer, or for what the peer did. */
  onReset(stream: MessageStream, error: StreamReset): void;
}

export class MessageStream implements SessionStream {
  readonly id: number;
  readonly owner: StreamOwner;
  sendWindow: number;
  receiveWindow: number;
  localOpen = true;
  remoteOpen = true;
  /** Set by its user as soon as there is a stream. */
  handler: MessageHandler | undefined;
  /** What windows have not let through; made when there is any. */
  #queue: SendQueue | undefined;
  /** The rest of the request is not wanted, once the response is out. */
  #refusesRest = false;
  #credit = 0;

  constructor(owner: StreamOwner, id: number, sendWindow: number, receiveWindow: number) {
    this.owner = owner;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  // === For its user ===

  /** A head or, with `end`, one that is all, or trailers: those wait for the content before them. */
  sendHeaders(block: Buffer, end: boolean): void {
    if (!this.localOpen) return;
    if (this.#queue) this.#queue.last = block;
    else this.owner.sendHeaders(this, block, end);
    this.#settleRest();
  }

  /** How much of the chunk needs to wait no more; `onSent` tells of the rest, which is copied. */
  sendData(chunk: Buffer, end: boolean): number {
    if (!this.localOpen) return chunk.length;
    const waits = this.#queue !== undefined || (this.owner.blocked && chunk.length > 0);
    const sent = waits ? 0 : this.owner.sendData(this, chunk, end);
    if (sent < chunk.length) {
      this.#queue ??= new SendQueue();
      this.#queue.add(sent === 0 ? chunk : chunk.subarray(sent));
      this.owner.waitsForWindow(this);
    }
    if (end && this.#queue) this.#queue.last = 'end';
    this.#settleRest();
    return sent;
  }

  /** After a response that needs no more of its request: tells the peer so as soon as all is sent. */
  refuseRest(): void {
    this.#refusesRest = true;
    this.#settleRest();
  }

  /** Ends both directions without a word to the handler. */
  cancel(code: number): void {
    this.handler = undefined;
    this.#queue = undefined;
    this.owner.closed(this, code);
  }

  /** Bytes of the peer's that its reader is done with. */
  credit(bytes: number): void {
    if (!this.remoteOpen) return;
    this.#credit += bytes;
    if (this.owner.widen(this, this.#credit)) this.#credit = 0;
  }

  // === From the session ===

  get queued(): boolean {
    return this.#queue !== undefined;
  }

  pump(): void {
    const queue = this.#queue;
    if (!queue) return;
    const sent = queue.pump((chunk, end) => this.owner.sendData(this, chunk, end));
    if (queue.empty) {
      this.#queue = undefined;
      if (queue.last instanceof Buffer) this.owner.sendHeaders(this, queue.last, true);
    }
    if (sent > 0) this.handler?.onSent(this, sent);
    this.#settleRest();
  }

  receiveHeaders(list: HeaderList, end: boolean): void {
    if (end) this.remoteOpen = false;
    this.handler?.onHeaders(this, list, end);
    if (end) this.owner.halfClosed(this);
  }

  receive(content: Buffer, end: boolean): void {
    if (end) this.remoteOpen = false;
    if (content.length > 0 || end) this.handler?.onData(this, content, end);
    if (end) this.owner.halfClosed(this);
  }

  receiveEnd(): void {
    this.remoteOpen = false;
    this.owner.halfClosed(this);
  }

  reset(code: number): void {
    const { handler } = this;
    this.cancel(code);
    handler?.onReset(this, new StreamReset(code, 'the peer broke a rule of its stream'));
  }

  stopSending(): void {
    this.localOpen = false;
    this.#queue = undefined;
    this.handler?.onStopped(this);
    this.owner.halfClosed(this);
  }

  abort(error: StreamReset): void {
    const { handler } = this;
    this.handler = undefined;
    this.localOpen = false;
    this.remoteOpen = false;
    this.#queue = undefined;
    handler?.onReset(this, error);
  }

  #settleRest(): void {
    if (this.#refusesRest && !this.localOpen && this.remoteOpen) this.cancel(errorCode.noError);
  }
}

/** Streams as requests and responses. */
export const messageStream = (
  owner: StreamOwner,
  id: number,
  sendWindow: number,
  receiveWindow: number,
): MessageStream => new MessageStream(owner, id, sendWindow, receiveWindow);
