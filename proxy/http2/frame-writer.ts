/** Gathers the frames of one turn of the event loop and writes them together: few TLS records, few system calls. */
import type { Duplex } from 'node:stream';
import { largeBlocks, type WriteBlocks } from '../net/write-blocks.ts';
import { flag, frame, frameHeaderBytes, maxFrameBytes, writeFrameHeader } from './frames.ts';

/** Beyond this much unsent, streams are told to wait. */
const blockedBlocks = 4;
/**
 * What they have read by then has room up to here. With the chunk that passes the bound and what the socket has at the time,
 * that is less than a session may leave unsent at all.
 */
const fullBlocks = 8;
/** Of one write to the socket at most. */
const writtenBlocks = 4;
/** Of one TLS record's content at most (RFC 8446 section 5.1). */
const recordBytes = 16_384;

const empty = Buffer.alloc(0);

interface Block {
  bytes: Buffer;
  used: number;
}

export class FrameWriter {
  readonly #socket: Duplex;
  readonly #onDrain: () => void;
  readonly #memory: WriteBlocks;
  /** Filled and not yet given to the socket; the last one takes more. */
  readonly #blocks: Block[] = [];
  #bytes = 0;
  #scheduled = false;
  /** What the socket has: one write at a time, and what comes meanwhile goes out together. */
  #writing: Block[] = [];
  #wasBlocked = false;
  readonly #flushed = (): void => {
    this.#scheduled = false;
    if (this.#writing.length === 0) this.#write();
  };
  readonly #written = (): void => {
    for (const { bytes } of this.#writing) this.#memory.giveBack(bytes);
    this.#writing = [];
    if (this.#bytes > 0 && !this.#scheduled) this.#write();
    if (!this.#wasBlocked || this.blocked) return;
    this.#wasBlocked = false;
    this.#onDrain();
  };

  /** `onDrain` is called when it was `blocked` and no longer is. */
  constructor(socket: Duplex, onDrain: () => void, memory = largeBlocks) {
    this.#socket = socket;
    this.#onDrain = onDrain;
    this.#memory = memory;
  }

  get blocked(): boolean {
    return this.#bytes > blockedBlocks * this.#memory.bytes;
  }

  /** Nothing more is taken that can wait. */
  get full(): boolean {
    return this.#bytes > fullBlocks * this.#memory.bytes;
  }

  /** Bytes that have not been given to the system. */
  get unsent(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  /**
   * Copies a frame; its payload is not needed afterwards. DATA of any size is cut where a TLS record ends (blocks that are
   * written together are cut into records as one), so that the reader of the record gets whole frames and not a piece of
   * one more.
   */
  frame(type: number, flags: number, stream: number, payload: Buffer = empty): void {
    for (let start = 0; ; ) {
      const left = payload.length - start;
      const block = this.#blocks.at(-1) ?? this.#addBlock(type, left);
      const { bytes, used } = block;
      const length = type === frame.data ? Math.min(left, this.#room(block)) : left;
      const end = used + frameHeaderBytes + length;
      if (end > bytes.length) {
        this.#addBlock(type, left);
        continue;
      }
      const rest = left - length;
      writeFrameHeader(bytes, used, length, type, rest > 0 ? 0 : flags, stream);
      payload.copy(bytes, used + frameHeaderBytes, start, start + length);
      block.used = end;
      this.#bytes += end - used;
      start += length;
      if (rest === 0) break;
    }
    this.#wasBlocked ||= this.blocked;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flushed);
  }

  /**
   * Bytes of content up to the end of the record; of the next one where this one has no more than room for a header. A
   * block that is written alone makes one record.
   */
  #room({ bytes, used }: Block): number {
    const { single } = this.#memory;
    const recordEnd = single ? bytes.length : recordBytes;
    const room = recordEnd - (single ? used : this.#bytes % recordBytes) - frameHeaderBytes;
    return room > 0 ? room : room + recordEnd;
  }

  /** A header block, in as many frames as it needs (RFC 9113 section 4.3). */
  headers(stream: number, block: Buffer, end: boolean): void {
    const endStream = end ? flag.endStream : 0;
    if (block.length <= maxFrameBytes) return this.frame(frame.headers, flag.endHeaders | endStream, stream, block);
    this.frame(frame.headers, endStream, stream, block.subarray(0, maxFrameBytes));
    for (let at = maxFrameBytes; at < block.length; at += maxFrameBytes) {
      const last = at + maxFrameBytes >= block.length;
      this.frame(frame.continuation, last ? flag.endHeaders : 0, stream, block.subarray(at, at + maxFrameBytes));
    }
  }

  /** Writes all there is at once: nothing will come any more. */
  finish(): void {
    for (const { bytes, used } of this.#blocks.splice(0)) {
      if (this.#socket.destroyed) this.#memory.giveBack(bytes);
      else this.#socket.write(bytes.subarray(0, used), () => this.#memory.giveBack(bytes));
    }
    this.#bytes = 0;
  }

  /** With room for a frame that cannot be cut. */
  #addBlock(type: number, payloadBytes: number): Block {
    const size = type === frame.data ? 0 : frameHeaderBytes + payloadBytes;
    const block = { bytes: this.#memory.take(size), used: 0 };
    this.#blocks.push(block);
    return block;
  }

  #write(): void {
    if (this.#blocks.length === 0 || this.#socket.destroyed) return;
    const blocks = this.#blocks.splice(0, this.#memory.single ? 1 : writtenBlocks);
    for (const { used } of blocks) this.#bytes -= used;
    this.#writing = blocks;
    const last = blocks.length - 1;
    if (last > 0) this.#socket.cork();
    for (let i = 0; i < last; i++) this.#socket.write(blocks[i]!.bytes.subarray(0, blocks[i]!.used));
    this.#socket.write(blocks[last]!.bytes.subarray(0, blocks[last]!.used), this.#written);
    if (last > 0) this.#socket.uncork();
  }
}
