/** One HTTP/2 stream as a request and its response: heads, content and trailers, in order and with flow control. */
import { errorCode } from './frames.ts';
import type { HeaderList } from './header-list.ts';
import { type SessionStream, type StreamOwner, StreamReset } from './session-stream.ts';

/** Chunks smaller than this that have to wait are gathered, so that a crowd of tiny ones costs what its bytes do. */
const gatherBytes = 4096;

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
  /** What windows have not let through. */
  readonly #queue: Buffer[] = [];
  /** Where the last of the queue has room for more. */
  #tail: Buffer | undefined;
  #tailUsed = 0;
  /** What follows the queue: the end, or a trailer's block. */
  #last: Buffer | 'end' | undefined;
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
    if (this.queued) this.#last = block;
    else this.owner.sendHeaders(this, block, end);
    this.#settleRest();
  }

  /** How much of the chunk needs to wait no more; `onSent` tells of the rest, which is copied. */
  sendData(chunk: Buffer, end: boolean): number {
    if (!this.localOpen) return chunk.length;
    const sent = this.queued ? 0 : this.owner.sendData(this, chunk, end);
    if (sent < chunk.length) {
      this.#keep(sent === 0 ? chunk : chunk.subarray(sent));
      if (end) this.#last = 'end';
      this.owner.waitsForWindow(this);
    } else if (end && this.queued) this.#last = 'end';
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
    this.#clear();
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
    return this.#queue.length > 0;
  }

  pump(): void {
    const queue = this.#queue;
    let sent = 0;
    while (queue.length > 0) {
      const chunk = queue[0]!;
      const size = this.owner.sendData(this, chunk, queue.length === 1 && this.#last === 'end');
      sent += size;
      if (size < chunk.length) {
        queue[0] = chunk.subarray(size);
        break;
      }
      queue.shift();
    }
    if (queue.length === 0) {
      this.#tail = undefined;
      const last = this.#last;
      this.#last = undefined;
      if (last instanceof Buffer) this.owner.sendHeaders(this, last, true);
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
    this.#clear();
    this.handler?.onStopped(this);
    this.owner.halfClosed(this);
  }

  abort(error: StreamReset): void {
    const { handler } = this;
    this.handler = undefined;
    this.localOpen = false;
    this.remoteOpen = false;
    this.#clear();
    handler?.onReset(this, error);
  }

  #settleRest(): void {
    if (this.#refusesRest && !this.localOpen && this.remoteOpen) this.cancel(errorCode.noError);
  }

  #clear(): void {
    this.#queue.length = 0;
    this.#tail = undefined;
    this.#last = undefined;
  }

  /** Copies: a chunk is a piece of a read that is a hundred times larger, and would keep it. */
  #keep(chunk: Buffer): void {
    const queue = this.#queue;
    let rest = chunk;
    if (this.#tail && queue.length > 0) {
      const size = Math.min(rest.length, this.#tail.length - this.#tailUsed);
      const last = queue.length - 1;
      const start = this.#tailUsed - queue[last]!.length;
      rest.copy(this.#tail, this.#tailUsed, 0, size);
      this.#tailUsed += size;
      queue[last] = this.#tail.subarray(start, this.#tailUsed);
      rest = rest.subarray(size);
    }
    if (rest.length === 0) return;
    this.#tail = Buffer.allocUnsafeSlow(Math.max(rest.length, gatherBytes));
    rest.copy(this.#tail);
    this.#tailUsed = rest.length;
    queue.push(this.#tail.subarray(0, rest.length));
  }
}

/** Streams as requests and responses. */
export const messageStream = (
  owner: StreamOwner,
  id: number,
  sendWindow: number,
  receiveWindow: number,
): MessageStream => new MessageStream(owner, id, sendWindow, receiveWindow);
