/** Flow control towards the peer (RFC 9113 section 5.2): what may be sent now, and who waits for a window. */
import type { Breach } from './breach.ts';
import type { FrameWriter } from './frame-writer.ts';
import {
  errorCode,
  flag,
  frame,
  initialTableBytes,
  initialWindow,
  maxFrameBytes,
  maxWindow,
  setting,
} from './frames.ts';
import type { SessionStream } from './session-stream.ts';
import type { Role } from './settings.ts';
import type { StreamTable } from './stream-table.ts';

/** A table of no bytes, which is what this end uses of it. */
const noTable = Buffer.from([0x20]);
const overflow: Breach = { code: errorCode.flowControlError, message: 'a window that overflows' };

/** Of one stream, before it is asked again whether the connection is blocked. */
const maxTurnBytes = 64 << 10;

export class SendFlow {
  readonly #writer: FrameWriter;
  readonly #streams: StreamTable<SessionStream>;
  /** Streams with a chunk that had to wait, or that were told to wait themselves, in the order in which they began to. */
  readonly #waiting = new Set<SessionStream>();
  readonly #role: Role;
  #window = initialWindow;
  /** What a new stream may send, and how many there may be: the peer's settings. */
  streamWindow = initialWindow;
  maxStreams = 100;
  /** Of one list that the peer reads; advice, and kept to. */
  maxHeaderListBytes = Number.POSITIVE_INFINITY;
  /** The peer's table has become smaller: the next header block has to say so (RFC 7541 section 4.2). */
  #tableShrunk = false;

  constructor(writer: FrameWriter, streams: StreamTable<SessionStream>, role: Role) {
    this.#role = role;
    this.#writer = writer;
    this.#streams = streams;
  }

  /** A header block, which no window holds back. */
  headers(stream: SessionStream, block: Buffer, end: boolean): void {
    this.#writer.headers(stream.id, this.#tableShrunk ? Buffer.concat([noTable, block]) : block, end);
    this.#tableShrunk = false;
  }

  /** Sends as much as windows allow; how much that was. `end`: the stream ends behind the chunk. */
  send(stream: SessionStream, chunk: Buffer, end: boolean): number {
    if (chunk.length === 0) {
      if (end) this.#writer.frame(frame.data, flag.endStream, stream.id, chunk);
      return 0;
    }
    let sent = 0;
    while (sent < chunk.length && !this.#writer.full) {
      const size = Math.min(chunk.length - sent, stream.sendWindow, this.#window, maxTurnBytes);
      if (size <= 0) break;
      const whole = sent === 0 && size === chunk.length;
      const flags = end && sent + size === chunk.length ? flag.endStream : 0;
      this.#writer.frame(frame.data, flags, stream.id, whole ? chunk : chunk.subarray(sent, sent + size));
      stream.sendWindow -= size;
      this.#window -= size;
      sent += size;
    }
    return sent;
  }

  /** Whoever sends had better wait: what is unsent is much already. */
  get blocked(): boolean {
    return this.#writer.blocked;
  }

  wait(stream: SessionStream): void {
    this.#waiting.add(stream);
  }

  forget(stream: SessionStream): void {
    this.#waiting.delete(stream);
  }

  /** Something that held streams back may be gone. */
  pump(): void {
    for (const stream of this.#waiting) {
      if (this.#writer.blocked || this.#window <= 0) return;
      this.#pumpOne(stream);
    }
  }

  #pumpOne(stream: SessionStream): void {
    this.#waiting.delete(stream);
    stream.pump();
    // One whose own window is empty hears of it by a WINDOW_UPDATE of its own.
    if (stream.queued && stream.sendWindow > 0) this.#waiting.add(stream);
  }

  /** WINDOW_UPDATE of the connection. */
  widen(bytes: number): Breach | undefined {
    if (bytes === 0) return { code: errorCode.protocolError, message: 'WINDOW_UPDATE of nothing' };
    this.#window += bytes;
    if (this.#window > maxWindow) return overflow;
    this.pump();
    return undefined;
  }

  /** WINDOW_UPDATE of a stream: it alone pays for a bad one. */
  widenStream(stream: SessionStream, bytes: number): void {
    if (bytes === 0) return stream.reset(errorCode.protocolError);
    stream.sendWindow += bytes;
    if (stream.sendWindow > maxWindow) return stream.reset(errorCode.flowControlError);
    if (stream.queued) this.#pumpOne(stream);
  }

  /** The payload of the peer's SETTINGS. */
  settings(payload: Buffer): Breach | undefined {
    const before = this.streamWindow;
    for (let at = 0; at < payload.length; at += 6) {
      const breach = this.#setting(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
      if (breach) return breach;
    }
    return this.#shiftWindows(this.streamWindow - before);
  }

  /** Section 6.9.2. Once per frame: one of 16 KiB can set the window 2,730 times. */
  #shiftWindows(change: number): Breach | undefined {
    if (change === 0) return undefined;
    for (const stream of this.#streams.all()) {
      stream.sendWindow += change;
      if (stream.sendWindow > maxWindow) return overflow;
      if (stream.queued) this.#waiting.add(stream);
    }
    return undefined;
  }

  /** One of them; those that mean nothing here are passed over. */
  #setting(id: number, value: number): Breach | undefined {
    if (id === setting.maxConcurrentStreams) this.maxStreams = value;
    else if (id === setting.maxHeaderListSize) this.maxHeaderListBytes = value;
    else if (id === setting.headerTableSize) this.#tableShrunk ||= value < initialTableBytes;
    // A server may not even allow it (section 6.5.2).
    else if (id === setting.enablePush && value > (this.#role === 'client' ? 0 : 1)) {
      return { code: errorCode.protocolError, message: 'ENABLE_PUSH out of its range' };
    } else if (id === setting.maxFrameSize) {
      if (value < maxFrameBytes || value > 0xffffff) {
        return { code: errorCode.protocolError, message: 'MAX_FRAME_SIZE out of its range' };
      }
    } else if (id === setting.initialWindowSize) {
      if (value > maxWindow) return overflow;
      this.streamWindow = value;
    }
    return undefined;
  }
}
