/**
 * Flow control towards this end (RFC 9113 section 5.2). The connection's window is given back as bytes arrive, a stream's
 * as they are read: a crowd of streams that nobody reads holds up no other, and what they hold is bounded by their own
 * windows.
 */
import type { FrameWriter } from './frame-writer.ts';
import { frame, initialWindow, uint32 } from './frames.ts';
import type { SessionStream } from './session-stream.ts';

export class ReceiveFlow {
  readonly #writer: FrameWriter;
  readonly #streamWindow: number;
  readonly #connectionWindow: number;
  /** Bytes of the connection's window not yet given back to the peer. */
  #credit = 0;

  constructor(writer: FrameWriter, windows: { streamWindow: number; connectionWindow: number }) {
    this.#writer = writer;
    this.#streamWindow = windows.streamWindow;
    this.#connectionWindow = windows.connectionWindow;
    writer.frame(frame.windowUpdate, 0, 0, uint32(windows.connectionWindow - initialWindow));
  }

  /** A DATA frame has come, padding included. */
  take(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit < this.#connectionWindow / 2) return;
    this.#writer.frame(frame.windowUpdate, 0, 0, uint32(this.#credit));
    this.#credit = 0;
  }

  /** Gives a stream's window back to the peer, once it is worth a frame. Whether it was. */
  widen(stream: SessionStream, credit: number): boolean {
    if (credit < this.#streamWindow / 2 || !stream.remoteOpen) return false;
    this.#writer.frame(frame.windowUpdate, 0, stream.id, uint32(credit));
    stream.receiveWindow += credit;
    return true;
  }
}
