/** Flow control towards this end (RFC 9113 section 5.2): what has come and is not read, and what the peer may send more. */
import type { FrameWriter } from './frame-writer.ts';
import { frame, initialWindow, uint32 } from './frames.ts';
import type { Http2Stream } from './stream.ts';

export class ReceiveFlow {
  readonly #writer: FrameWriter;
  readonly #streamWindow: number;
  readonly #connectionWindow: number;
  /** Bytes of all streams that nobody has read yet. */
  #held = 0;
  /** Bytes read and not yet given back to the peer. */
  #credit = 0;

  constructor(writer: FrameWriter, windows: { streamWindow: number; connectionWindow: number }) {
    this.#writer = writer;
    this.#streamWindow = windows.streamWindow;
    this.#connectionWindow = windows.connectionWindow;
    writer.frame(frame.windowUpdate, 0, 0, uint32(windows.connectionWindow - initialWindow));
  }

  /** A DATA frame has begun; false where the connection's window does not hold it. */
  take(length: number): boolean {
    this.#held += length;
    return this.#held <= this.#connectionWindow;
  }

  /** Bytes that need nobody's attention any more. */
  release(bytes: number): void {
    this.#held -= bytes;
    this.#credit += bytes;
    if (this.#credit < this.#connectionWindow / 2) return;
    this.#writer.frame(frame.windowUpdate, 0, 0, uint32(this.#credit));
    this.#credit = 0;
  }

  /** Gives a stream's window back to the peer, once it is worth a frame. Whether it was. */
  widen(stream: Http2Stream, credit: number): boolean {
    if (credit < this.#streamWindow / 2 || !stream.remoteOpen) return false;
    this.#writer.frame(frame.windowUpdate, 0, stream.id, uint32(credit));
    stream.receiveWindow += credit;
    return true;
  }
}
