/** The head of one message as its sender put it, read where somebody asks. */
import { type HeadParser, headerValue } from './head-parser.ts';
import { COLON, spells } from './syntax.ts';

export interface Fields {
  /** The first value of a header; undefined without one. `name` in lower case. */
  value(name: string): string | undefined;
  /** How often a header stands there. */
  count(name: string): number;
}

export interface RequestFields extends Fields {
  /** Path and query as the client asked for them; `*` for OPTIONS of the server itself. */
  readonly path: string;
  /** Host and port as the client named them; empty in HTTP/1.0 without Host. */
  readonly authority: string;
  /** Whether a name begins with `mesh-`: what proxies say to each other (proxy/resilience/mesh-headers.ts). */
  readonly fromMesh: boolean;
}

/** Visits the header lines of a head that ends at `headEnd`, each with its CRLF, until told to stop by `false`. */
export function eachLine(
  buffer: Buffer,
  headEnd: number,
  visit: (colon: number, start: number, end: number) => boolean,
): void {
  let first = true;
  for (let start = 0; start < headEnd; ) {
    const end = buffer.indexOf(10, start) + 1;
    // The first line, and the empty ones ahead of it and at the end.
    if (end - start <= 2) start = end;
    else if (first) {
      first = false;
      start = end;
    } else {
      if (!visit(buffer.indexOf(COLON, start), start, end)) return;
      start = end;
    }
  }
}

const none = Buffer.alloc(0);

/** Of HTTP/1; one object for all requests or responses of a connection. */
export class Http1Fields implements RequestFields {
  readonly #parser: HeadParser;
  #buffer: Buffer = none;
  #headEnd = 0;

  constructor(parser: HeadParser) {
    this.#parser = parser;
  }

  /** The head that the parser read last; its bytes are held until `clear`. */
  hold(buffer: Buffer, headEnd: number): void {
    this.#buffer = buffer;
    this.#headEnd = headEnd;
  }

  clear(): void {
    this.#buffer = none;
    this.#headEnd = 0;
  }

  get path(): string {
    const { targetStart, targetEnd } = this.#parser;
    const target = this.#buffer.toString('latin1', targetStart, targetEnd);
    if (target.startsWith('/') || target === '*') return target;
    // The absolute form (RFC 9112 section 3.2.2).
    const path = target.slice(target.indexOf('//') + 2).replace(/^[^/?]*/, '');
    return path.startsWith('/') ? path : `/${path}`;
  }

  get authority(): string {
    return this.value('host') ?? '';
  }

  get fromMesh(): boolean {
    return this.#parser.fromMesh;
  }

  value(name: string): string | undefined {
    const buffer = this.#buffer;
    let found: string | undefined;
    eachLine(buffer, this.#headEnd, (colon, start, end) => {
      if (colon - start !== name.length || !spells(buffer, start, name)) return true;
      found = headerValue(buffer, colon, end - 2);
      return false;
    });
    return found;
  }

  count(name: string): number {
    const buffer = this.#buffer;
    let count = 0;
    eachLine(buffer, this.#headEnd, (colon, start) => {
      if (colon - start === name.length && spells(buffer, start, name)) count++;
      return true;
    });
    return count;
  }
}
