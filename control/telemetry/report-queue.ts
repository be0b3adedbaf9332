/** Reports that another replica has not been told yet, as the JSON they are told in: the oldest go where there are too many. */

/** Bytes kept, and so told at once: less than a replica takes in one call (peers.ts), or it could never be told again. */
const maxBytes = 16 << 20;

export class ReportQueue {
  #texts: string[] = [];
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#texts.length === 0;
  }

  push(text: string): void {
    this.#texts.push(text);
    this.#bytes += Buffer.byteLength(text);
    while (this.#bytes > maxBytes) this.#bytes -= Buffer.byteLength(this.#texts.shift()!);
  }

  /** All of it, the oldest first. */
  take(): string[] {
    const taken = this.#texts;
    this.#texts = [];
    this.#bytes = 0;
    return taken;
  }

  /** What was taken and not told, before what came since. */
  putBack(taken: readonly string[]): void {
    for (const text of [...taken, ...this.take()]) this.push(text);
  }
}
