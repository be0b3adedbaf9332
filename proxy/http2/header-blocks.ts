/** Puts header blocks together from HEADERS and CONTINUATION (RFC 9113 sections 6.2 and 6.10), and decodes them. */
import { owned } from '../net/shared-reads.ts';
import type { Breach } from './breach.ts';
import { errorCode, flag, maxFrameBytes, priorityBytes } from './frames.ts';
import { HeaderList } from './header-list.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import type { Entry } from './hpack-dynamic-table.ts';

const maxContinuations = 16;
/** Blocks whose lists are kept, and how long they may be. */
const keptLists = 16;
const keptBytes = 1024;
/** After so many blocks in a row that were new, only one of eight is looked for and kept. */
const newInRow = 64;
/** Of one list: a short block may mean a long one. */
const keptListBytes = 8192;

export interface HeaderBlock {
  stream: number;
  /** Whether the stream ends with it. */
  end: boolean;
  list: HeaderList;
  /** The list is larger than allowed, and cut short. */
  tooLarge: boolean;
}

interface Kept {
  list: HeaderList;
  /** What its block adds to the table, each time. */
  added: readonly Entry[] | undefined;
  /** Of the table that it means this with; -1 where it is the same with any. */
  generation: number;
}

export class HeaderBlocks {
  readonly #maxListBytes: number;
  readonly #decoder: HpackDecoder;
  /**
   * Lists by block: a peer that says the same again, as most do with most of their messages, often says it in the same
   * bytes.
   */
  readonly #kept = new Map<string, Kept>();
  /** Blocks in a row that were new. */
  #new = 0;
  #parts: Buffer[] = [];
  #bytes = 0;
  #end = false;
  /** Stream of the block that has begun and not ended; 0 between blocks. */
  open = 0;

  constructor(maxListBytes: number) {
    this.#maxListBytes = maxListBytes;
    this.#decoder = new HpackDecoder(maxListBytes);
  }

  /** A HEADERS frame; undefined where CONTINUATION has to follow. */
  begin(flags: number, stream: number, payload: Buffer): HeaderBlock | Breach | undefined {
    let start = flags & flag.padded ? 1 : 0;
    const padding = start === 1 ? (payload[0] ?? 0) : 0;
    if (flags & flag.priority) start += priorityBytes;
    if (start > payload.length) return { code: errorCode.frameSizeError, message: 'HEADERS cut short' };
    if (start + padding > payload.length) {
      return { code: errorCode.protocolError, message: 'padding longer than its frame' };
    }
    const part = start + padding > 0 ? payload.subarray(start, payload.length - padding) : payload;
    const end = (flags & flag.endStream) !== 0;
    if (flags & flag.endHeaders) return this.#read(part, stream, end);
    this.open = stream;
    this.#end = end;
    this.#parts = [owned(part)];
    this.#bytes = part.length;
    return undefined;
  }

  /** A CONTINUATION frame of the open block. */
  go(flags: number, payload: Buffer): HeaderBlock | Breach | undefined {
    this.#parts.push(owned(payload));
    this.#bytes += payload.length;
    // CVE-2024-27316: a block must end.
    if (this.#bytes > this.#maxListBytes + maxFrameBytes || this.#parts.length > maxContinuations) {
      return { code: errorCode.enhanceYourCalm, message: 'too many CONTINUATION frames' };
    }
    if (!(flags & flag.endHeaders)) return undefined;
    const block = Buffer.concat(this.#parts);
    const stream = this.open;
    this.open = 0;
    this.#parts = [];
    return this.#read(block, stream, this.#end);
  }

  #read(block: Buffer, stream: number, end: boolean): HeaderBlock | Breach {
    const key = this.#mayComeAgain(block) ? block.toString('latin1') : undefined;
    const known = key === undefined ? undefined : this.#known(key);
    if (known) return { stream, end, list: known, tooLarge: false };
    const fields: string[] = [];
    const result = this.#decoder.decode(block, fields);
    if (result === 'malformed') return { code: errorCode.compressionError, message: 'a header block is malformed' };
    const list = new HeaderList(fields, this.#decoder.neverIndexed);
    const tooLarge = result === 'too-large';
    if (key !== undefined && !tooLarge) this.#keep(key, list);
    return { stream, end, list, tooLarge };
  }

  #mayComeAgain(block: Buffer): boolean {
    return block.length <= keptBytes && (this.#new++ < newInRow || this.#new % 8 === 0);
  }

  #known(key: string): HeaderList | undefined {
    const kept = this.#kept.get(key);
    if (!kept) return undefined;
    if (kept.generation >= 0 && kept.generation !== this.#decoder.generation) {
      this.#kept.delete(key);
      return undefined;
    }
    this.#new = 0;
    if (kept.added) this.#decoder.add(kept.added);
    return kept.list;
  }

  #keep(key: string, list: HeaderList): void {
    const { usedTable, resizedTable, added, generation } = this.#decoder;
    // What the table's entries mean has changed already.
    if (resizedTable || (usedTable && added) || list.bytes > keptListBytes) return;
    if (this.#kept.size >= keptLists) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(key, { list, added, generation: usedTable ? generation : -1 });
  }
}
