/** HPACK (RFC 7541): header blocks to headers, with a bounded dynamic table. */
import { initialTableBytes } from './frames.ts';
import { DynamicTable, type Entry } from './hpack-dynamic-table.ts';
import { staticTable } from './hpack-tables.ts';
import { decodeHuffman } from './huffman.ts';

const nothing = Buffer.alloc(0);

export type HpackResult = 'ok' | 'malformed' | 'too-large';

export class HpackDecoder {
  readonly #maxListBytes: number;
  readonly #table = new DynamicTable(initialTableBytes);
  #at = 0;
  #bytes: Buffer = nothing;
  /** The field at hand. */
  #name = '';
  #value = '';
  /** Of the last block: where in its list names stand whose values must never be indexed; undefined where there are none. */
  neverIndexed: Set<number> | undefined;
  /** Of the last block: whether it spoke of the table's entries, whether it set the table's size, and what it added. */
  usedTable = false;
  resizedTable = false;
  added: Entry[] | undefined;

  /** `maxListBytes`: of one header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts. */
  constructor(maxListBytes: number) {
    this.#maxListBytes = maxListBytes;
  }

  /** Grows with each change of the table: a block that uses it means the same as long as this stays. */
  get generation(): number {
    return this.#table.generation;
  }

  /** What a block did to the table, once more. */
  add(entries: readonly Entry[]): void {
    for (const entry of entries) this.#table.add(entry);
  }

  /**
   * Appends name, value, name, value… of a whole block to `headers`. `too-large` still reads the block to its end, since
   * the table is shared with all later ones; `malformed` ends the connection.
   */
  decode(block: Buffer, headers: string[]): HpackResult {
    this.#begin(block);
    let listBytes = 0;
    let begun = false;
    while (this.#at < block.length) {
      const first = block[this.#at]!;
      if ((first & 0xe0) === 0x20) {
        const capacity = this.#integer(5);
        if (begun || capacity < 0 || capacity > initialTableBytes) return 'malformed';
        this.#table.resize(capacity);
        this.resizedTable = true;
        continue;
      }
      if (!(first & 0x80 ? this.#indexed() : this.#literal(first))) return 'malformed';
      begun = true;
      listBytes += this.#name.length + this.#value.length + entryOverhead;
      if (listBytes > this.#maxListBytes) continue;
      if ((first & 0xf0) === 0x10) {
        this.neverIndexed ??= new Set();
        this.neverIndexed.add(headers.length);
      }
      headers.push(this.#name, this.#value);
    }
    // A piece of a read of 64 KB, which a connection that gets no other block would hold on to.
    this.#bytes = nothing;
    return listBytes > this.#maxListBytes ? 'too-large' : 'ok';
  }

  #begin(block: Buffer): void {
    this.#bytes = block;
    this.#at = 0;
    this.neverIndexed = undefined;
    this.usedTable = false;
    this.resizedTable = false;
    this.added = undefined;
  }

  /** Section 6.1: name and value are an entry's. Whether there is one. */
  #indexed(): boolean {
    const entry = this.#entry(this.#integer(7));
    if (!entry) return false;
    this.#name = entry.name;
    this.#value = entry.value;
    return true;
  }

  /** Section 6.2: the value is spelled out, and the name may be. Whether they are well formed. */
  #literal(first: number): boolean {
    const indexed = (first & 0xc0) === 0x40;
    const index = this.#integer(indexed ? 6 : 4);
    const name = index === 0 ? this.#string() : this.#entry(index)?.name;
    const value = name === undefined ? undefined : this.#string();
    if (name === undefined || value === undefined) return false;
    this.#name = name;
    this.#value = value;
    if (indexed) this.#add(makeEntry(name, value));
    return true;
  }

  #add(entry: Entry): void {
    this.#table.add(entry);
    this.added ??= [];
    this.added.push(entry);
  }

  #entry(index: number): Entry | undefined {
    if (index < staticEntries.length) return staticEntries[index];
    this.usedTable = true;
    return this.#table.at(index - staticEntries.length);
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

const entryOverhead = 32;
const makeEntry = (name: string, value: string): Entry => ({
  name,
  value,
  size: name.length + value.length + entryOverhead,
});
const staticEntries = staticTable.map(([name, value], index) => (index === 0 ? undefined : makeEntry(name, value)));
