/**
 * HPACK (RFC 7541) without state: names and pairs of the static table by index, all else as literals that no table
 * keeps. A block then depends on its headers alone and can be made once and sent many times.
 */
import { staticTable } from './hpack-tables.ts';

interface StaticName {
  index: number;
  /** Index of the pair by value. */
  pairs: Map<string, number>;
}

const staticNames = new Map<string, StaticName>();
staticTable.forEach(([name, value], index) => {
  if (index === 0) return;
  const known = staticNames.get(name) ?? { index, pairs: new Map<string, number>() };
  known.pairs.set(value, index);
  staticNames.set(name, known);
});

const neverIndexedFlag = 0x10;
/** A field's flags and lengths at most. */
const fieldOverhead = 16;
/** Where blocks are put together. */
let scratch = Buffer.allocUnsafeSlow(16_384);

/**
 * `headers`: name, value, name, value…; names in lower case, all latin1. `neverIndexed`: where names stand whose values
 * are marked as secrets.
 */
export function encodeHeaders(headers: readonly string[], neverIndexed?: ReadonlySet<number>): Buffer {
  let most = 0;
  for (let i = 0; i < headers.length; i += 2) most += headers[i]!.length + headers[i + 1]!.length + fieldOverhead;
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most);
  const to = scratch;
  let at = 0;
  for (let i = 0; i < headers.length; i += 2) {
    const value = headers[i + 1]!;
    const name = staticNames.get(headers[i]!);
    const secret = neverIndexed?.has(i) === true;
    const pair = secret ? undefined : name?.pairs.get(value);
    if (pair !== undefined) {
      at = integer(to, at, 0x80, 7, pair);
      continue;
    }
    at = integer(to, at, secret ? neverIndexedFlag : 0, 4, name?.index ?? 0);
    if (!name) at = string(to, at, headers[i]!);
    at = string(to, at, value);
  }
  const block = Buffer.allocUnsafe(at);
  to.copy(block, 0, 0, at);
  return block;
}

function integer(to: Buffer, start: number, flags: number, prefix: number, value: number): number {
  let at = start;
  const mask = (1 << prefix) - 1;
  if (value < mask) {
    to[at++] = flags | value;
    return at;
  }
  to[at++] = flags | mask;
  let rest = value - mask;
  for (; rest > 127; rest >>>= 7) to[at++] = (rest & 0x7f) | 0x80;
  to[at++] = rest;
  return at;
}

function string(to: Buffer, start: number, text: string): number {
  const at = integer(to, start, 0, 7, text.length);
  return at + to.write(text, at, 'latin1');
}
