/**
 * The memory in which frames wait to be written: used again and again, by all connections that share it. What a crowd of
 * them needed at once is freed at once: left to the collector, 100 connections made 60 MB of it.
 */
import { release } from '../process/reclaim.ts';

const maxFree = 32;

export class WriteBlocks {
  /** Of one block. */
  readonly bytes: number;
  /** Whether a socket is given one block at a time, and the next when that is written; else all there are together. */
  readonly single: boolean;
  readonly #free: Buffer[] = [];

  constructor(bytes: number, single: boolean) {
    this.bytes = bytes;
    this.single = single;
  }

  /** One of at least `size` bytes. */
  take(size: number): Buffer {
    return (size <= this.bytes ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(size, this.bytes));
  }

  giveBack(block: Buffer): void {
    if (block.length === this.bytes && this.#free.length < maxFree) this.#free.push(block);
    else release(block);
  }
}

/** For connections that carry much: few and large writes. */
export const largeBlocks = new WriteBlocks(64 << 10, false);

/**
 * For a multitude of connections that carry little: TLS keeps, for as long as a connection lives, a buffer as large as the
 * largest write it was given, and what it needed for its handshake has room for one of these.
 */
export const smallBlocks = new WriteBlocks(2 << 10, true);
