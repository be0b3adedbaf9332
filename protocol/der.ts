/** DER, as much of X.690 as certificates need: a writer by nesting calls, a strict reader. */

function tlv(tag: number, content: Uint8Array): Buffer {
  const length = content.length;
  if (length < 128) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}

export const sequence = (...parts: Uint8Array[]): Buffer => tlv(0x30, Buffer.concat(parts));
export const set = (...parts: Uint8Array[]): Buffer => tlv(0x31, Buffer.concat(parts));
export const octets = (content: Uint8Array): Buffer => tlv(0x04, content);
export const boolean = (value: boolean): Buffer => tlv(0x01, Buffer.from([value ? 0xff : 0]));
export const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text));
/** Bits in whole bytes, `unused` of the last byte's low bits not counted. */
export const bits = (content: Uint8Array, unused = 0): Buffer =>
  tlv(0x03, Buffer.concat([Buffer.from([unused]), content]));
/** Context-specific tag; constructed for explicit tagging, primitive for implicit of a plain value. */
export const context = (number: number, content: Uint8Array, constructed: boolean): Buffer =>
  tlv((constructed ? 0xa0 : 0x80) | number, content);

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  return tlv(0x02, trimmed[0]! & 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed);
}

/** Object identifier from dotted text. */
export function oid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number) as [number, number, ...number[]];
  const bytes = [first * 40 + second];
  for (let value of rest) {
    const group = [value & 127];
    while (value > 127) {
      value = Math.floor(value / 128);
      group.unshift((value & 127) | 128);
    }
    bytes.push(...group);
  }
  return tlv(0x06, Buffer.from(bytes));
}

/** UTCTime to 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5); whole seconds. */
export function time(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return date.getUTCFullYear() < 2050
    ? tlv(0x17, Buffer.from(`${text.slice(2)}Z`))
    : tlv(0x18, Buffer.from(`${text}Z`));
}

export interface DerNode {
  tag: number;
  /** Content bytes. */
  content: Buffer;
  /** Tag, length and content. */
  whole: Buffer;
}

/** Reads one element at the start of the bytes; throws on anything that is not definite-length, shortest-form DER. */
export function readDer(bytes: Buffer): DerNode {
  if (bytes.length < 2) throw new Error('DER: ends early');
  let length = bytes[1]!;
  let offset = 2;
  if (length & 0x80) {
    const count = length & 0x7f;
    if (count === 0 || count > 3 || bytes.length < 2 + count) throw new Error('DER: bad length');
    length = bytes.readUIntBE(2, count);
    if (length < 128 || (count > 1 && bytes[2] === 0)) throw new Error('DER: length not in its shortest form');
    offset += count;
  }
  if (bytes.length < offset + length) throw new Error('DER: ends early');
  return {
    tag: bytes[0]!,
    content: bytes.subarray(offset, offset + length),
    whole: bytes.subarray(0, offset + length),
  };
}

/** The elements inside a constructed one. */
export function children(node: DerNode): DerNode[] {
  const found: DerNode[] = [];
  for (let rest = node.content; rest.length > 0; rest = rest.subarray(found.at(-1)!.whole.length))
    found.push(readDer(rest));
  return found;
}
