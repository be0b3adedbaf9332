/** A header list as a peer sent it, and the block that says the same on any connection. */
import { encodeHeaders } from './hpack-encoder.ts';

/**
 * Shared by all messages whose blocks spelled the same list: what is worked out once (its block, what the rules of
 * messages say of it) is not worked out again.
 */
export class HeaderList {
  /** Name, value, name, value…; latin1. Cut short where it was larger than allowed. */
  readonly fields: readonly string[];
  /** Where in `fields` the names stand whose values no table on the way may keep (RFC 7541 section 7.1.3). */
  readonly neverIndexed: ReadonlySet<number> | undefined;
  /** What the message rules made of it, in each of its possible places. */
  asRequest: unknown;
  asResponse: unknown;
  asTrailer: unknown;
  #block: Buffer | undefined;
  #bytes = -1;
  #fromMesh: boolean | undefined;

  constructor(fields: readonly string[], neverIndexed?: ReadonlySet<number>) {
    this.fields = fields;
    this.neverIndexed = neverIndexed;
  }

  /** Its encoded block, of no connection's state. */
  get block(): Buffer {
    this.#block ??= encodeHeaders(this.fields, this.neverIndexed);
    return this.#block;
  }

  /** As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 section 6.5.2). */
  get bytes(): number {
    if (this.#bytes < 0) this.#bytes = this.fields.reduce((sum, text) => sum + text.length + 16, 0);
    return this.#bytes;
  }

  /** The first value of a name; undefined without one. */
  value(name: string): string | undefined {
    const { fields } = this;
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
    return undefined;
  }

  /** How often a name stands there. */
  count(name: string): number {
    const { fields } = this;
    let count = 0;
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) count++;
    return count;
  }

  /** Of a request; empty without one. */
  get path(): string {
    return this.value(':path') ?? '';
  }

  /** Of a request, whichever way it says it (RFC 9113 section 8.3.1); empty without one. */
  get authority(): string {
    return this.value(':authority') ?? this.value('host') ?? '';
  }

  /** Whether a name begins with `mesh-`. */
  get fromMesh(): boolean {
    this.#fromMesh ??= hasMeshName(this.fields);
    return this.#fromMesh;
  }

  /** The same list without some names; itself where it has none of them. */
  without(dropped: ReadonlySet<string>): HeaderList {
    const { fields, neverIndexed } = this;
    const kept: string[] = [];
    const secret = new Set<number>();
    for (let i = 0; i < fields.length; i += 2) {
      if (dropped.has(fields[i]!)) continue;
      if (neverIndexed?.has(i)) secret.add(kept.length);
      kept.push(fields[i]!, fields[i + 1]!);
    }
    return kept.length === fields.length ? this : new HeaderList(kept, secret.size > 0 ? secret : undefined);
  }
}

function hasMeshName(fields: readonly string[]): boolean {
  for (let i = 0; i < fields.length; i += 2) if (fields[i]!.startsWith('mesh-')) return true;
  return false;
}
