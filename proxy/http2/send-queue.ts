/** What a stream has to say and windows have not let through: content, then its end or a trailer. */

import { release } from '../process/reclaim.ts';

/** Chunks smaller than this are gathered, so that a crowd of tiny ones costs what its bytes do. */
const gatherBytes = 4096;

export class SendQueue {
  readonly #chunks: Buffer[] = [];
  /** Where the last chunk has room for more. */
  #tail: Buffer | undefined;
  #tailUsed = 0;
  /** What follows the content: the end, or a trailer's block. */
  last: Buffer | 'end' | undefined;

  get empty(): boolean {
    return this.#chunks.length === 0;
  }

  /** Copies: a chunk is a piece of a read that is a hundred times larger, and would keep it. */
  add(chunk: Buffer): void {
    const rest = this.#fill(chunk);
    if (rest.length === 0) return;
    this.#tail = Buffer.allocUnsafeSlow(Math.max(rest.length, gatherBytes));
    rest.copy(this.#tail);
    this.#tailUsed = rest.length;
    this.#chunks.push(this.#tail.subarray(0, rest.length));
  }

  /** Puts what fits behind the last chunk; the rest. */
  #fill(chunk: Buffer): Buffer {
    const at = this.#chunks.length - 1;
    if (!this.#tail || at < 0) return chunk;
    const size = Math.min(chunk.length, this.#tail.length - this.#tailUsed);
    const start = this.#tailUsed - this.#chunks[at]!.length;
    chunk.copy(this.#tail, this.#tailUsed, 0, size);
    this.#tailUsed += size;
    this.#chunks[at] = this.#tail.subarray(start, this.#tailUsed);
    return chunk.subarray(size);
  }

  /** Sends until `send` takes no more of a chunk; how much it took. `end`: the stream ends behind the chunk. */
  pump(send: (chunk: Buffer, end: boolean) => number): number {
    const chunks = this.#chunks;
    let sent = 0;
    while (chunks.length > 0) {
      const chunk = chunks[0]!;
      const size = send(chunk, chunks.length === 1 && this.last === 'end');
      sent += size;
      if (size < chunk.length) {
        chunks[0] = chunk.subarray(size);
        break;
      }
      chunks.shift();
      // Its bytes have been copied.
      release(chunk);
    }
    if (chunks.length === 0) this.#tail = undefined;
    return sent;
  }
}
