/** The dynamic table of HPACK (RFC 7541 section 4): a ring, newest first, bounded by the size of its entries. */

export interface Entry {
  name: string;
  value: string;
  /** Of both, and 32 for itself. */
  size: number;
}

const smallestEntry = 32;

export class DynamicTable {
  /** Made for the first entry: many peers add none. */
  #ring: (Entry | undefined)[] = [];
  readonly #places: number;
  /** Where the next one goes; how many there are, and their size. */
  #next = 0;
  #count = 0;
  #size = 0;
  #capacity: number;
  /** Grows with each change. */
  generation = 0;

  /** `capacity`: bytes at most, now and ever. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#places = capacity / smallestEntry;
  }

  /** The newest has index 0. */
  at(index: number): Entry | undefined {
    if (index < 0 || index >= this.#count) return undefined;
    return this.#ring[(this.#next - 1 - index + this.#places) % this.#places];
  }

  /** One larger than the table empties it. */
  add(entry: Entry): void {
    this.generation++;
    this.#evict(this.#capacity - entry.size);
    if (entry.size > this.#capacity) return;
    if (this.#ring.length === 0) this.#ring = new Array<Entry | undefined>(this.#places).fill(undefined);
    this.#ring[this.#next] = entry;
    this.#next = (this.#next + 1) % this.#places;
    this.#count++;
    this.#size += entry.size;
  }

  resize(capacity: number): void {
    this.generation++;
    this.#capacity = capacity;
    this.#evict(capacity);
  }

  #evict(room: number): void {
    while (this.#count > 0 && this.#size > room) {
      const oldest = (this.#next - this.#count + this.#places) % this.#places;
      this.#size -= this.#ring[oldest]!.size;
      this.#ring[oldest] = undefined;
      this.#count--;
    }
  }
}
