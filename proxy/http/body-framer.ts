/** Tells how many bytes of what arrives belong to the body of the message at hand. Bytes are passed on as they are. */

import type { Framing } from './head-parser.ts';
import { COLON, CR, HTAB, hexValue, LF, SP, tokenByte, valueByte } from './syntax.ts';

/** Chunk extensions and trailers of a whole message are bounded: they would otherwise be bytes no limit sees. */
const maxExtensionBytes = 16 << 10;
const maxTrailerBytes = 16 << 10;
const maxSizeDigits = 13;
const semicolon = 59;

/** Where in the chunked coding (RFC 9112 section 7.1) the next byte stands. */
const size = 0;
const beforeExtension = 1;
const extension = 2;
const sizeLf = 3;
const data = 4;
const dataCr = 5;
const dataLf = 6;
const trailerStart = 7;
const trailerName = 8;
const trailerValue = 9;
const trailerLf = 10;
const lastLf = 11;

export class BodyFramer {
  framing: Framing = 'none';
  done = true;
  failed = false;
  #left = 0;
  #state = size;
  #digits = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;

  /** `length` in bytes, for framing `length` only. */
  start(framing: Framing, length: number): void {
    this.framing = framing;
    this.failed = false;
    this.done = framing === 'none' || (framing === 'length' && length === 0);
    this.#left = framing === 'length' ? length : 0;
    this.#state = size;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
  }

  /** Takes bytes from `start`; returns the offset after the last one of this body. Sets `done` or `failed`. */
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
          else if (byte === semicolon) this.#state = extension;
          else if (byte === SP || byte === HTAB) this.#state = beforeExtension;
          else return this.#fail(i);
          break;
        }
        case beforeExtension:
          // Space is allowed ahead of an extension only (RFC 9112 section 7.1.1).
          if (byte === semicolon) this.#state = extension;
          else if (byte !== SP && byte !== HTAB) return this.#fail(i);
          if (++this.#extensionBytes > maxExtensionBytes) return this.#fail(i);
          break;
        case extension:
          if (byte === CR) this.#state = sizeLf;
          else if (!valueByte[byte] || ++this.#extensionBytes > maxExtensionBytes) return this.#fail(i);
          break;
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
          else if (tokenByte[byte]) this.#state = trailerName;
          else return this.#fail(i);
          if (++this.#trailerBytes > maxTrailerBytes) return this.#fail(i);
          break;
        case trailerName:
          if (byte === COLON) this.#state = trailerValue;
          else if (!tokenByte[byte]) return this.#fail(i);
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
        default:
          if (byte !== LF) return this.#fail(i);
          this.done = true;
          return i;
      }
    }
    return i;
  }

  #fail(at: number): number {
    this.failed = true;
    return at;
  }
}
