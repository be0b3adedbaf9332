/** Joins the chunks of a head. A head that comes byte by byte is copied a few times in all, not once per byte. */
export class Gatherer {
  #store: Buffer | undefined;
  #view: Buffer | undefined;

  /** `before` with `chunk` behind it. Bytes given out are never written again: only the space behind them is. */
  join(before: Buffer | undefined, chunk: Buffer): Buffer {
    if (!before) return chunk;
    const length = before.length + chunk.length;
    if (!this.#store || before !== this.#view || length > this.#store.length) {
      this.#store = Buffer.allocUnsafeSlow(Math.max(1024, 2 * length));
      before.copy(this.#store);
    }
    chunk.copy(this.#store, before.length);
    this.#view = this.#store.subarray(0, length);
    return this.#view;
  }

  /** To be called when the head is whole, so that an idle connection holds no memory. */
  clear(): void {
    this.#store = undefined;
    this.#view = undefined;
  }
}
