/** Tells how many bytes of what arrives belong to the body of the message at hand. Bytes are passed on as they are. */

import type { Framing } from './head-parser.ts';
import { COLON, CR, HTAB, hexValue, LF, SP, tokenByte, valueByte } from './syntax.ts';

/** Chunk extensions and trailers of a whole message are bounded: they would otherwise be bytes no limit sees. */
const maxExtensionBytes = 16 << 10;
const maxTrailerBytes = 16 << 10;
const maxSizeDigits = 13;
const semicolon = 59;
const equals = 61;
const quote = 34;
const backslash = 92;

/**
 * What no trailer may be called (RFC 9110 section 6.5.1): it frames, routes, or says who asks. Servers that merge
 * trailers into the head would take it for a header that nobody on the way has looked at (CVE-2025-12642).
 */
const headOnly = new Set([
  'authorization',
  'connection',
  'content-length',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const longestHeadOnly = Math.max(...[...headOnly].map((name) => name.length));

/** Where in the chunked coding (RFC 9112 section 7.1) the next byte stands. */
const size = 0;
const beforeExtension = 1;
const beforeName = 2;
const name = 3;
const afterName = 4;
const beforeValue = 5;
const value = 6;
const quoted = 7;
const escaped = 8;
const afterValue = 9;
const sizeLf = 10;
const data = 11;
const dataCr = 12;
const dataLf = 13;
const trailerStart = 14;
const trailerName = 15;
const trailerValue = 16;
const trailerLf = 17;
const lastLf = 18;
const wrong = -1;

/** The state behind a byte of a chunk extension (RFC 9112 section 7.1.1); names are needed, values are not. */
function extensionState(state: number, byte: number): number {
  const space = byte === SP || byte === HTAB;
  switch (state) {
    case beforeExtension:
      return space ? state : byte === semicolon ? beforeName : wrong;
    case beforeName:
      return space ? state : tokenByte[byte] ? name : wrong;
    case beforeValue:
      return space ? state : byte === quote ? quoted : tokenByte[byte] ? value : wrong;
    case quoted:
      return byte === quote ? afterValue : byte === backslash ? escaped : valueByte[byte] ? quoted : wrong;
    case escaped:
      return valueByte[byte] ? quoted : wrong;
    default:
      break;
  }
  if (byte === CR) return sizeLf;
  if (byte === semicolon) return beforeName;
  const named = state === name || state === afterName;
  if (named && byte === equals) return beforeValue;
  if ((state === name || state === value) && tokenByte[byte]) return state;
  return space ? (named ? afterName : afterValue) : wrong;
}

export class BodyFramer {
  framing: Framing = 'none';
  done = true;
  error: 'bad-chunk' | 'bad-trailer' | undefined;
  #left = 0;
  #state = size;
  #digits = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #trailer = '';

  /** `length` in bytes, for framing `length` only. */
  start(framing: Framing, length: number): void {
    this.framing = framing;
    this.error = undefined;
    this.done = framing === 'none' || (framing === 'length' && length === 0);
    this.#left = framing === 'length' ? length : 0;
    this.#state = size;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
  }

  /** Takes bytes from `start`; returns the offset after the last one of this body. Sets `done` or `error`. */
  take(buffer: Buffer, start: number): number {
    if (this.done) return start;
    if (this.framing === 'until-close') return buffer.length;
    if (this.framing === 'chunked') return this.#chunked(buffer, start);
    const taken = Math.min(this.#left, buffer.length - start);
    this.#left -= taken;
    this.done = this.#left === 0;
    return start + taken;
  }

  #chunked(buffer: Buffer, start: number): number {
    let i = start;
    const end = buffer.length;
    while (i < end) {
      if (this.#state === data) {
        const taken = Math.min(this.#left, end - i);
        i += taken;
        this.#left -= taken;
        if (this.#left > 0) return i;
        this.#state = dataCr;
        continue;
      }
      const byte = buffer[i++]!;
      switch (this.#state) {
        case size: {
          const digit = hexValue[byte]!;
          if (digit < 16) {
            if (++this.#digits > maxSizeDigits) return this.#fail(i);
            this.#left = this.#left * 16 + digit;
          } else if (this.#digits === 0) return this.#fail(i);
          else if (byte === CR) this.#state = sizeLf;
          else if (byte === semicolon) this.#state = beforeName;
          else if (byte === SP || byte === HTAB) this.#state = beforeExtension;
          else return this.#fail(i);
          break;
        }
        case sizeLf:
          if (byte !== LF) return this.#fail(i);
          this.#digits = 0;
          this.#state = this.#left === 0 ? trailerStart : data;
          break;
        case dataCr:
          if (byte !== CR) return this.#fail(i);
          this.#state = dataLf;
          break;
        case dataLf:
          if (byte !== LF) return this.#fail(i);
          this.#state = size;
          break;
        case trailerStart:
          if (byte === CR) this.#state = lastLf;
          else if (tokenByte[byte]) {
            this.#state = trailerName;
            this.#trailer = String.fromCharCode(byte);
          } else return this.#fail(i);
          if (++this.#trailerBytes > maxTrailerBytes) return this.#fail(i);
          break;
        case trailerName:
          if (byte === COLON) {
            if (headOnly.has(this.#trailer.toLowerCase())) return this.#fail(i, 'bad-trailer');
            this.#state = trailerValue;
          } else if (!tokenByte[byte]) return this.#fail(i);
          else if (this.#trailer.length <= longestHeadOnly) this.#trailer += String.fromCharCode(byte);
          if (++this.#trailerBytes > maxTrailerBytes) return this.#fail(i);
          break;
        case trailerValue:
          if (byte === CR) this.#state = trailerLf;
          else if (!valueByte[byte]) return this.#fail(i);
          if (++this.#trailerBytes > maxTrailerBytes) return this.#fail(i);
          break;
        case trailerLf:
          if (byte !== LF) return this.#fail(i);
          this.#state = trailerStart;
          break;
        case lastLf:
          if (byte !== LF) return this.#fail(i);
          this.done = true;
          return i;
        default:
          this.#state = extensionState(this.#state, byte);
          if (this.#state === wrong || ++this.#extensionBytes > maxExtensionBytes) return this.#fail(i);
      }
    }
    return i;
  }

  #fail(at: number, error: 'bad-chunk' | 'bad-trailer' = 'bad-chunk'): number {
    this.error = error;
    return at;
  }
}
