/** One HTTP/2 stream as a connection of bytes: DATA frames both ways, with flow control. */
import { Duplex } from 'node:stream';
import { owned } from '../net/shared-reads.ts';
import { errorCode } from './frames.ts';
import type { HeaderList } from './header-list.ts';
import { encodeHeaders } from './hpack-encoder.ts';
import { type SessionStream, type StreamOwner, StreamReset } from './session-stream.ts';

type Done = (error?: Error | null) => void;

const highWaterMark = 64 << 10;
/**
 * More is likely to follow such a chunk: its writer is told to wait as soon as anything waits. One of smaller chunks is not
 * until `highWaterMark`: small answers would cost a pause each.
 */
const largeChunk = 32 << 10;
const nothing = Buffer.alloc(0);

/**
 * A Duplex to whoever reads and writes it. What flows takes shorter ways than Node's streams have: a chunk that can go
 * out at once does so within write(), and one that somebody listens for is handed over as it comes.
 */
export class Http2Stream extends Duplex implements SessionStream {
  readonly id: number;
  /** The connection it is part of. */
  readonly session: StreamOwner;
  sendWindow: number;
  receiveWindow: number;
  /** Code of the reset that ended it, whoever sent it; 0 without one. */
  resetCode = 0;
  localOpen = true;
  remoteOpen = true;
  /** Chunks that windows have not let through. */
  readonly #queue: Buffer[] = [];
  /** Their bytes. */
  queuedBytes = 0;
  #needDrain = false;
  /** What waits for the queue to be empty: a write that wants to know, or the end. */
  #onSent: Done[] = [];
  /** Told of the peer's headers, behind those that began the stream. */
  onHeaders: ((list: HeaderList, end: boolean) => void) | undefined;
  /** Received and not yet read by its user; read and not yet credited to the peer. */
  #held = 0;
  #credit = 0;
  #holdsWindow = false;

  /** Made by the session only. */
  constructor(session: StreamOwner, id: number, sendWindow: number, receiveWindow: number) {
    super({ allowHalfOpen: true, highWaterMark });
    this.session = session;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Sends the response's head; server's streams only. */
  respond(headers: readonly string[], endStream = false): void {
    if (this.destroyed || !this.localOpen) return;
    this.session.sendHeaders(this, encodeHeaders(headers), endStream);
    if (endStream) this.end();
  }

  reset(code: number): void {
    if (this.destroyed) return;
    this.resetCode = code;
    this.destroy();
  }

  // === From the session ===

  receiveHeaders(list: HeaderList, end: boolean): void {
    this.onHeaders?.(list, end);
    // Trailers, or a head alone: the stream ends.
    if (end) this.receive(nothing, true);
  }

  receiveEnd(): void {
    this.receive(nothing, true);
  }

  receive(content: Buffer, end: boolean): void {
    if (content.length > 0) {
      this.#held += content.length;
      if (this.readableFlowing === true && this.readableLength === 0) this.emit('data', content);
      else this.push(owned(content));
      this.#settle();
    }
    if (end && this.remoteOpen) {
      this.remoteOpen = false;
      this.push(null);
      this.session.halfClosed(this);
    }
  }

  /** Its reader has to catch up: until it has, the peer is given no more window, and what the window lets through still comes. */
  set holdsWindow(holds: boolean) {
    this.#holdsWindow = holds;
    if (!holds) this.#settle();
  }

  credit(bytes: number): void {
    this.#credit += bytes;
    if (this.session.widen(this, this.#credit)) this.#credit = 0;
  }

  get queued(): boolean {
    return this.#queue.length > 0;
  }

  pump(): void {
    const queue = this.#queue;
    while (queue.length > 0) {
      const chunk = queue[0]!;
      const sent = this.session.sendData(this, chunk, false);
      this.queuedBytes -= sent;
      if (sent < chunk.length) {
        queue[0] = chunk.subarray(sent);
        return;
      }
      queue.shift();
    }
    for (const done of this.#onSent.splice(0)) done();
    if (!this.#needDrain) return;
    this.#needDrain = false;
    this.emit('drain');
  }

  stopSending(): void {
    this.localOpen = false;
    this.#queue.length = 0;
    this.queuedBytes = 0;
    this.pump();
    this.session.halfClosed(this);
  }

  abort(error: StreamReset): void {
    this.resetCode = error.code;
    this.localOpen = false;
    this.remoteOpen = false;
    this.destroy(error);
  }

  // === Duplex ===

  /** `done`: the chunk is needed no more; possibly called at once. */
  override write(chunk: Buffer | string, done?: unknown): boolean {
    if (this.destroyed || this.writableEnded) {
      this.destroy(new Error('written to after its end'));
      return false;
    }
    this.#send(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    if (typeof done === 'function') this.#afterQueue(done as Done);
    const early = chunk.length >= largeChunk && (this.queued || this.session.blocked);
    if (!this.#needDrain && (early || this.queuedBytes >= highWaterMark)) {
      this.#needDrain = true;
      this.session.waitsForWindow(this);
    }
    return !this.#needDrain;
  }

  #send(chunk: Buffer): void {
    if (!this.localOpen) return;
    const sent = this.queued ? 0 : this.session.sendData(this, chunk, false);
    if (sent === chunk.length) return;
    this.#queue.push(owned(sent === 0 ? chunk : chunk.subarray(sent)));
    this.queuedBytes += chunk.length - sent;
    this.session.waitsForWindow(this);
  }

  override _read(): void {
    this.#settle();
  }

  /** Only what comes with end(): all else goes through write() above. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#send(chunk);
    this.#afterQueue(done);
  }

  override _final(done: Done): void {
    this.#afterQueue((error) => {
      if (!error && this.localOpen) this.session.sendData(this, nothing, true);
      done(error);
    });
  }

  #afterQueue(done: Done): void {
    if (this.queued) this.#onSent.push(done);
    else done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const code = this.resetCode || (error ? errorCode.internalError : errorCode.cancel);
    this.session.closed(this, code);
    this.#queue.length = 0;
    this.queuedBytes = 0;
    for (const one of this.#onSent.splice(0)) one(error ?? new StreamReset(code, 'the stream was ended'));
    done(error);
  }

  /** Tells the session what its user has read since the last time. */
  #settle(): void {
    const read = this.#held - this.readableLength;
    if (read <= 0 || this.#holdsWindow) return;
    this.#held -= read;
    this.credit(read);
  }
}

/** Streams as connections of bytes. */
export const byteStream = (owner: StreamOwner, id: number, sendWindow: number, receiveWindow: number): Http2Stream =>
  new Http2Stream(owner, id, sendWindow, receiveWindow);
