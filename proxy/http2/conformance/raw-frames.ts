/**
 * Frames as RFC 9113 draws them, byte by byte, for tests of the engine: neither written nor read with what they test.
 * Numbers are those of its sections 6, 7 and 11; header blocks are RFC 7541's.
 */

/** Frame types (section 6). */
export const DATA = 0x0;
export const HEADERS = 0x1;
export const PRIORITY = 0x2;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PUSH_PROMISE = 0x5;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

/** Flags. */
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const PRIORITY_FLAG = 0x20;

/** Error codes (section 7). */
export const NO_ERROR = 0x0;
export const PROTOCOL_ERROR = 0x1;
export const INTERNAL_ERROR = 0x2;
export const FLOW_CONTROL_ERROR = 0x3;
export const STREAM_CLOSED = 0x5;
export const FRAME_SIZE_ERROR = 0x6;
export const REFUSED_STREAM = 0x7;
export const CANCEL = 0x8;
export const COMPRESSION_ERROR = 0x9;
export const ENHANCE_YOUR_CALM = 0xb;

/** What they are called, by number. */
export const codeNames = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
] as const;

export interface RawFrame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

type Piece = number | string | Uint8Array;

/** Bytes from single ones, Latin-1 text and other bytes. */
export const bytes = (...pieces: Piece[]): Buffer =>
  Buffer.concat(
    pieces.map((piece) => {
      if (typeof piece === 'number') return Buffer.from([piece]);
      return typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece;
    }),
  );

const u16 = (value: number): Buffer => bytes((value >>> 8) & 255, value & 255);
export const u32 = (value: number): Buffer => bytes(u16(value >>> 16), u16(value & 65_535));
export const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
/** `count` bytes of the same value. */
export const filled = (count: number, value = 0): Buffer => Buffer.alloc(count, value);

/** Section 4.1: 24 bits of length, 8 of type, 8 of flags, 32 of stream. */
export function raw(type: number, flags: number, stream: number, ...payload: Piece[]): Buffer {
  const content = bytes(...payload);
  return bytes(content.length >>> 16, u16(content.length & 65_535), type, flags, u32(stream), content);
}

export const preface = bytes('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** Setting, value, setting, value… */
export const settings = (...values: number[]): Buffer =>
  raw(SETTINGS, 0, 0, ...values.map((value, i) => (i % 2 === 0 ? u16(value) : u32(value))));
export const settingsAck = raw(SETTINGS, ACK, 0);
export const ping = (payload: string): Buffer => raw(PING, 0, 0, payload);
export const windowUpdate = (stream: number, increment: number): Buffer =>
  raw(WINDOW_UPDATE, 0, stream, u32(increment));
export const reset = (stream: number, code = CANCEL): Buffer => raw(RST_STREAM, 0, stream, u32(code));
export const goaway = (last: number, code = NO_ERROR, ...debug: Piece[]): Buffer =>
  raw(GOAWAY, 0, 0, u32(last), u32(code), ...debug);
/** A block in one frame, that ends its stream where flags do not say otherwise. */
export const headers = (stream: number, block: Uint8Array, flags = END_HEADERS | END_STREAM): Buffer =>
  raw(HEADERS, flags, stream, block);
export const data = (stream: number, content: Piece, flags = 0): Buffer => raw(DATA, flags, stream, content);

/** A literal without indexing and with a new name (RFC 7541 section 6.2.2); both shorter than 127 bytes. */
export const literal = (name: string, value: string): Buffer => bytes(0x00, name.length, name, value.length, value);
/** Lists as literals: pseudo-header fields too. */
export const block = (...fields: string[]): Buffer =>
  bytes(...fields.flatMap((name, i) => (i % 2 === 0 ? [literal(name, fields[i + 1]!)] : [])));
/** Indexed: `:method: GET` (2) or POST (3), `:scheme: http` (6), `:path: /` (4); `:authority` (1) as a literal. */
const head = (method: number) => bytes(method, 0x86, 0x84, 0x01, 4, 'test');
export const get = head(0x82);
export const post = head(0x83);
/** A request on stream 1 whose content is still to come. */
export const open = headers(1, post, END_HEADERS);
/** To a server that keeps what it is asked there: the path as a literal. */
export const hold = bytes(0x82, 0x86, 0x04, 5, '/hold', 0x01, 4, 'test');

/** Cuts what was heard into frames; the rest is that of a frame not yet whole. */
export function cut(heard: Buffer): { frames: RawFrame[]; rest: Buffer } {
  const frames: RawFrame[] = [];
  let at = 0;
  while (heard.length - at >= 9) {
    const end = at + 9 + heard.readUIntBE(at, 3);
    if (end > heard.length) break;
    frames.push({
      type: heard[at + 3]!,
      flags: heard[at + 4]!,
      stream: heard.readUInt32BE(at + 5) & 0x7fffffff,
      payload: Buffer.from(heard.subarray(at + 9, end)),
    });
    at = end;
  }
  return { frames, rest: heard.subarray(at) };
}

/**
 * Of a response's block: `:status` indexed (8 to 14) or as a literal of that name's index, behind a table's new size of
 * 0 where it says so. Undefined where it does not begin so: a trailer.
 */
export function statusOf(responseBlock: Buffer): number | undefined {
  const at = responseBlock[0] === 0x20 ? 1 : 0;
  const indexed = [200, 204, 206, 304, 400, 404, 500][responseBlock[at]! - 0x88];
  const isLiteral = responseBlock[at] === 0x08 && responseBlock[at + 1] === 3;
  return indexed ?? (isLiteral ? Number(responseBlock.toString('latin1', at + 2, at + 5)) : undefined);
}
