/** What has been sent of a request, while it may have to be sent again. */
import { owned } from '../net/shared-reads.ts';

/** A body up to this size is kept until the response begins. */
const limit = 64 << 10;

export class Replay {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #whole = true;

  begin(): void {
    this.clear();
    this.#bytes = 0;
    this.#whole = true;
  }

  /** Bytes that wait for the first connection: kept whatever their size. The client is paused, so they are one chunk. */
  hold(bytes: Buffer): void {
    this.#bytes += bytes.length;
    this.#chunks.push(owned(bytes));
  }

  /** Bytes that are on their way. */
  add(bytes: Buffer): void {
    if (!this.#whole) return;
    this.hold(bytes);
    this.trim();
  }

  /** What was held has been sent: too much of it is kept no longer. */
  trim(): void {
    if (this.#bytes <= limit) return;
    this.#whole = false;
    this.#chunks = [];
  }

  clear(): void {
    while (this.#chunks.length > 0) this.#chunks.pop();
  }

  /** Whether all that was sent is still here. */
  get whole(): boolean {
    return this.#whole;
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }
}
