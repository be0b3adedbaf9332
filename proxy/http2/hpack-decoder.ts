/** HPACK (RFC 7541): header blocks to headers, with a bounded dynamic table. */
import { initialTableBytes } from './frames.ts';
import { staticTable } from './hpack-tables.ts';
import { decodeHuffman } from './huffman.ts';

/** What every peer may use before it hears otherwise (RFC 9113 section 6.5.2), which it never does. */
const tableLimit = initialTableBytes;
const entryOverhead = 32;

export type HpackResult = 'ok' | 'malformed' | 'too-large';

export class HpackDecoder {
  readonly #maxListBytes: number;
  /** Newest first. */
  readonly #dynamic: [name: string, value: string][] = [];
  #size = 0;
  #capacity = tableLimit;
  /** Grows with each change of the table: a block means the same as long as it stays. */
  generation = 0;
  /** Where in the last list names stand whose values must never be indexed; undefined where there are none. */
  neverIndexed: Set<number> | undefined;
  #at = 0;
  #bytes: Buffer = Buffer.alloc(0);

  /** `maxListBytes`: of one header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts. */
  constructor(maxListBytes: number) {
    this.#maxListBytes = maxListBytes;
  }

  /**
   * Appends name, value, name, value… of a whole block to `headers`. `too-large` still reads the block to its end, since
   * the table is shared with all later ones; `malformed` ends the connection.
   */
  decode(block: Buffer, headers: string[]): HpackResult {
    this.#bytes = block;
    this.#at = 0;
    this.neverIndexed = undefined;
    let listBytes = 0;
    let begun = false;
    while (this.#at < block.length) {
      const first = block[this.#at]!;
      let entry: [string, string] | undefined;
      let secret = false;
      if (first & 0x80) {
        const index = this.#integer(7);
        entry = this.#entry(index);
      } else if ((first & 0xe0) === 0x20) {
        const capacity = this.#integer(5);
        if (begun || capacity < 0 || capacity > tableLimit) return 'malformed';
        this.#capacity = capacity;
        this.generation++;
        this.#evict();
        continue;
      } else {
        const indexed = (first & 0xc0) === 0x40;
        secret = (first & 0xf0) === 0x10;
        const index = this.#integer(indexed ? 6 : 4);
        const name = index === 0 ? this.#string() : this.#entry(index)?.[0];
        const value = name === undefined ? undefined : this.#string();
        if (name !== undefined && value !== undefined) entry = [name, value];
        if (indexed && entry) this.#add(entry);
      }
      if (!entry) return 'malformed';
      begun = true;
      listBytes += entry[0].length + entry[1].length + entryOverhead;
      if (listBytes > this.#maxListBytes) continue;
      if (secret) {
        this.neverIndexed ??= new Set();
        this.neverIndexed.add(headers.length);
      }
      headers.push(entry[0], entry[1]);
    }
    return listBytes > this.#maxListBytes ? 'too-large' : 'ok';
  }

  #entry(index: number): [string, string] | undefined {
    if (index <= 0) return undefined;
    if (index < staticTable.length) return staticTable[index] as [string, string];
    return this.#dynamic[index - staticTable.length];
  }

  #add(entry: [string, string]): void {
    this.generation++;
    this.#dynamic.unshift(entry);
    this.#size += entry[0].length + entry[1].length + entryOverhead;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#capacity) {
      const [name, value] = this.#dynamic.pop()!;
      this.#size -= name.length + value.length + entryOverhead;
    }
  }

  /** Section 5.1; -1 where it ends early or is too large to mean anything. */
  #integer(prefix: number): number {
    const bytes = this.#bytes;
    const mask = (1 << prefix) - 1;
    let value = bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = bytes[this.#at++];
      if (byte === undefined) return -1;
      value += (byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value;
    }
    return -1;
  }

  /** Section 5.2. */
  #string(): string | undefined {
    if (this.#at >= this.#bytes.length) return undefined;
    const huffman = this.#bytes[this.#at]! & 0x80;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (length < 0 || end > this.#bytes.length) return undefined;
    this.#at = end;
    return huffman ? decodeHuffman(this.#bytes, start, end) : this.#bytes.toString('latin1', start, end);
  }
}
