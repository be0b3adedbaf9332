/** One HTTP/2 stream as a connection of bytes: DATA frames both ways, with flow control. */
import { Duplex } from 'node:stream';
import { errorCode } from './frames.ts';

type Done = (error?: Error | null) => void;

const highWaterMark = 64 << 10;

/** What a stream needs of its connection. */
export interface StreamOwner {
  /** Whether another stream could be begun. */
  readonly usable: boolean;
  sendHeaders(id: number, headers: readonly string[], end: boolean): void;
  /** Sends as much as windows allow; how much that was. */
  sendData(stream: Http2Stream, chunk: Buffer): number;
  /** This end has said all. */
  sendEnd(stream: Http2Stream): void;
  waitsForWindow(stream: Http2Stream): void;
  /** Offers read bytes as window to the peer; whether they were given. */
  widen(stream: Http2Stream, credit: number): boolean;
  /** One direction has ended; once both have, the stream is no longer the owner's. */
  halfClosed(stream: Http2Stream): void;
  /** The stream is destroyed; reset at the peer where it was still open. */
  closed(stream: Http2Stream, code: number): void;
}

/** The peer, or this end, has ended the stream out of order. */
export class StreamReset extends Error {
  /** Of RFC 9113 section 7. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'StreamReset';
    this.code = code;
  }
}

/**
 * A Duplex to whoever reads and writes it. What flows takes shorter ways than Node's streams have: a chunk that can go
 * out at once does so within write(), and one that somebody listens for is handed over as it comes.
 */
export class Http2Stream extends Duplex {
  readonly id: number;
  /** The connection it is part of. */
  readonly session: StreamOwner;
  /** Bytes that the peer allows this end, and this end the peer. */
  sendWindow: number;
  receiveWindow: number;
  /** Code of the reset that ended it, whoever sent it; 0 without one. */
  resetCode = 0;
  /** Whether this end may still send, and whether the peer may. */
  localOpen = true;
  remoteOpen = true;
  /** Chunks that windows have not let through. */
  readonly #queue: Buffer[] = [];
  /** Their bytes. */
  queuedBytes = 0;
  #needDrain = false;
  /** What waits for the queue to be empty: a write of Node's own, or the end. */
  #onSent: Done | undefined;
  /** Received and not yet read by its user; read and not yet credited to the peer. */
  #held = 0;
  #credit = 0;

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
    this.session.sendHeaders(this.id, headers, endStream);
    if (!endStream) return;
    this.localOpen = false;
    this.end();
    this.session.halfClosed(this);
  }

  /** Ends both directions at once, with a code of RFC 9113 section 7. */
  reset(code: number): void {
    if (this.destroyed) return;
    this.resetCode = code;
    this.destroy();
  }

  // === From the session ===

  receive(content: Buffer, end: boolean): void {
    if (content.length > 0) {
      this.#held += content.length;
      if (this.readableFlowing === true && this.readableLength === 0) this.emit('data', content);
      else this.push(content);
      this.#settle();
    }
    if (end && this.remoteOpen) {
      this.remoteOpen = false;
      this.push(null);
      this.session.halfClosed(this);
    }
  }

  /** Bytes of its window that need nobody's attention any more. */
  credit(bytes: number): void {
    this.#credit += bytes;
    if (this.session.widen(this, this.#credit)) this.#credit = 0;
  }

  /** Whether a chunk waits for a window. */
  get queued(): boolean {
    return this.#queue.length > 0;
  }

  /** Sends what windows allow of the chunks that wait. */
  pump(): void {
    const queue = this.#queue;
    while (queue.length > 0) {
      const chunk = queue[0]!;
      const sent = this.session.sendData(this, chunk);
      this.queuedBytes -= sent;
      if (sent < chunk.length) {
        queue[0] = chunk.subarray(sent);
        return;
      }
      queue.shift();
    }
    const done = this.#onSent;
    this.#onSent = undefined;
    done?.();
    if (!this.#needDrain) return;
    this.#needDrain = false;
    this.emit('drain');
  }

  /** The peer has said all and wants to hear no more (RFC 9113 section 8.1): what it said stays to be read. */
  stopSending(): void {
    this.localOpen = false;
    this.#queue.length = 0;
    this.queuedBytes = 0;
    this.pump();
    this.session.halfClosed(this);
  }

  /** The session is gone, or the peer has reset the stream. */
  abort(error: StreamReset): void {
    this.resetCode = error.code;
    this.localOpen = false;
    this.remoteOpen = false;
    this.destroy(error);
  }

  // === Duplex ===

  override write(chunk: Buffer | string): boolean {
    if (this.destroyed || this.writableEnded) {
      this.destroy(new Error('written to after its end'));
      return false;
    }
    this.#send(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    this.#needDrain ||= this.queuedBytes >= highWaterMark;
    return !this.#needDrain;
  }

  #send(chunk: Buffer): void {
    if (!this.localOpen) return;
    const sent = this.queued ? 0 : this.session.sendData(this, chunk);
    if (sent === chunk.length) return;
    this.#queue.push(sent === 0 ? chunk : chunk.subarray(sent));
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
      if (!error && this.localOpen) this.session.sendEnd(this);
      done(error);
    });
  }

  #afterQueue(done: Done): void {
    if (this.queued) this.#onSent = done;
    else done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const code = this.resetCode || (error ? errorCode.internalError : errorCode.cancel);
    this.session.closed(this, code);
    this.#queue.length = 0;
    this.queuedBytes = 0;
    const waiting = this.#onSent;
    this.#onSent = undefined;
    waiting?.(error ?? new StreamReset(code, 'the stream was ended'));
    done(error);
  }

  /** Tells the session what its user has read since the last time. */
  #settle(): void {
    const read = this.#held - this.readableLength;
    if (read <= 0) return;
    this.#held -= read;
    this.credit(read);
  }
}
