/** Tells how many bytes of what arrives belong to the body of the message at hand. Bytes are passed on as they are. */

import type { Framing } from './head-parser.ts';
import { CR, HTAB, hexValue, LF, valueByte } from './syntax.ts';

/** Chunk extensions and trailers are bounded: nothing here may grow with the sender's patience. */
const maxChunkLine = 4096;
const maxTrailerBytes = 16 << 10;
const maxSizeDigits = 13;

/** Where in the chunked coding (RFC 9112 section 7.1) the next byte stands. */
const size = 0;
const extension = 1;
const sizeLf = 2;
const data = 3;
const dataCr = 4;
const dataLf = 5;
const trailerStart = 6;
const trailer = 7;
const trailerLf = 8;
const lastLf = 9;

export class BodyFramer {
  framing: Framing = 'none';
  done = true;
  failed = false;
  #left = 0;
  #state = size;
  #digits = 0;
  #lineBytes = 0;
  #trailerBytes = 0;

  /** `length` in bytes, for framing `length` only. */
  start(framing: Framing, length: number): void {
    this.framing = framing;
    this.failed = false;
    this.done = framing === 'none' || (framing === 'length' && length === 0);
    this.#left = framing === 'length' ? length : 0;
    this.#state = size;
    this.#digits = 0;
    this.#lineBytes = 0;
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
          else if (byte === 59 || byte === 32 || byte === HTAB) this.#state = extension;
          else return this.#fail(i);
          break;
        }
        case extension:
          if (byte === CR) this.#state = sizeLf;
          else if (!valueByte[byte] || ++this.#lineBytes > maxChunkLine) return this.#fail(i);
          break;
        case sizeLf:
          if (byte !== LF) return this.#fail(i);
          this.#digits = 0;
          this.#lineBytes = 0;
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
          else if (!valueByte[byte] || byte === 32 || byte === HTAB || byte === 58) return this.#fail(i);
          else this.#state = trailer;
          if (++this.#trailerBytes > maxTrailerBytes) return this.#fail(i);
          break;
        case trailer:
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
