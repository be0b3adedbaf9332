/**
 * HPACK (RFC 7541) without state: names and pairs of the static table by index, all else as literals that no table
 * keeps. A block then depends on its headers alone and can be made once and sent many times.
 */
import { staticTable } from './hpack-tables.ts';

const pairs = new Map(staticTable.map(([name, value], index) => [`${name}\0${value}`, index]));
const names = new Map([...staticTable].map(([name], index) => [name, index] as const).reverse());

/** `headers`: name, value, name, value…; names in lower case. */
export function encodeHeaders(headers: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    const pair = pairs.get(`${name}\0${value}`);
    if (pair !== undefined) parts.push(integer(0x80, 7, pair));
    else {
      const index = names.get(name) ?? 0;
      parts.push(integer(0, 4, index));
      if (index === 0) parts.push(string(name));
      parts.push(string(value));
    }
  }
  return Buffer.concat(parts);
}

function integer(flags: number, prefix: number, value: number): Buffer {
  const mask = (1 << prefix) - 1;
  if (value < mask) return Buffer.from([flags | value]);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function string(text: string): Buffer {
  return Buffer.concat([integer(0, 7, Buffer.byteLength(text, 'latin1')), Buffer.from(text, 'latin1')]);
}
