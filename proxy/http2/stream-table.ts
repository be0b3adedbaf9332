/**
 * The streams of a connection by their ids: open addressing with linear probing (Knuth vol. 3, section 6.4, algorithms L
 * and R). Not a Map, whose table leads to the one that replaces it and still holds what was in it: once one of them is in
 * the old generation, each stream that comes later is kept until the whole heap is marked (30 MB of them, measured).
 */

const fewest = 16;

export class StreamTable<S extends { readonly id: number }> {
  #slots: (S | undefined)[] = new Array(fewest).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): S | undefined {
    return this.#slots[this.#find(id)];
  }

  /** Its id is in use by no other. */
  add(stream: S): void {
    if ((this.#size + 1) * 2 > this.#slots.length) this.#resize(this.#slots.length * 2);
    this.#slots[this.#find(stream.id)] = stream;
    this.#size++;
  }

  /** Whether it was there. */
  delete(id: number): boolean {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let gap = this.#find(id);
    if (!slots[gap]) return false;
    slots[gap] = undefined;
    this.#size--;
    // Those behind that had to pass by move up, so that the way to them has no gap.
    for (let i = (gap + 1) & mask; slots[i]; i = (i + 1) & mask) {
      const home = (slots[i]!.id >>> 1) & mask;
      if (((i - home) & mask) < ((i - gap) & mask)) continue;
      slots[gap] = slots[i];
      slots[i] = undefined;
      gap = i;
    }
    if (slots.length > fewest && this.#size * 8 < slots.length) this.#resize(slots.length / 2);
    return true;
  }

  /** As they are now: those that are deleted meanwhile are visited, too. */
  all(): S[] {
    return this.#slots.filter((stream) => stream !== undefined);
  }

  /** The slot of the stream, or the one that it would have. Ids of one side are every second number. */
  #find(id: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let i = (id >>> 1) & mask;
    while (slots[i] !== undefined && slots[i]!.id !== id) i = (i + 1) & mask;
    return i;
  }

  #resize(capacity: number): void {
    const streams = this.all();
    this.#slots = new Array(capacity).fill(undefined);
    for (const stream of streams) this.#slots[this.#find(stream.id)] = stream;
  }
}
