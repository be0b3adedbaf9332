/** Cuts a connection's bytes into frames (RFC 9113 section 4.1). DATA is passed on as it comes, all else whole. */
import { owned, partOf } from '../net/shared-reads.ts';
import type { Breach } from './breach.ts';
import { errorCode, flag, frame, frameHeaderBytes, maxFrameBytes, preface } from './frames.ts';

export interface FrameHandler {
  /** The head of a DATA frame; `length` counts for flow control, padding included. */
  onDataHead(stream: number, length: number): void;
  /** So many bytes of it are no content. */
  onPadding(stream: number, length: number): void;
  /** A part of its content, and whether the stream ends behind it. */
  onData(stream: number, content: Buffer, end: boolean): void;
  onFrame(type: number, flags: number, stream: number, payload: Buffer): void;
  /** Nothing is handed on any more. */
  onBreach(breach: Breach): void;
}

export class FrameReader {
  readonly #handler: FrameHandler;
  /** The start of a frame that has not come whole. */
  #rest: Buffer | undefined;
  /** Of the DATA frame at hand. */
  #stream = 0;
  #left = 0;
  #padding = 0;
  #end = false;
  #prefaceLeft: number;
  #stopped = false;

  /** `hasPreface`: the peer is a client, which begins with the connection preface (section 3.4). */
  constructor(hasPreface: boolean, handler: FrameHandler) {
    this.#handler = handler;
    this.#prefaceLeft = hasPreface ? preface.length : 0;
  }

  /** Nothing is handed on from now on. */
  stop(): void {
    this.#stopped = true;
    this.#rest = undefined;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = undefined;
    let at = this.#prefaceLeft > 0 ? this.#preface(bytes) : 0;
    while (!this.#stopped) {
      if (this.#left > 0) {
        if (at === bytes.length) return;
        at = this.#content(bytes, at);
        continue;
      }
      if (this.#padding > 0) {
        if (at === bytes.length) return;
        const skipped = Math.min(this.#padding, bytes.length - at);
        this.#padding -= skipped;
        at += skipped;
        continue;
      }
      if (bytes.length - at < frameHeaderBytes) break;
      const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
      if (length > maxFrameBytes) return this.#breach(errorCode.frameSizeError, 'a frame is larger than allowed');
      const type = bytes[at + 3]!;
      const flags = bytes[at + 4]!;
      const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      if (type === frame.data) {
        const padded = (flags & flag.padded) !== 0 && length > 0;
        // The length of the padding is the first of its bytes.
        if (padded && bytes.length - at === frameHeaderBytes) break;
        at += frameHeaderBytes;
        this.#handler.onDataHead(stream, length);
        this.#stream = stream;
        this.#left = length;
        this.#end = (flags & flag.endStream) !== 0;
        if (flags & flag.padded) at = this.#unpad(bytes, at, length);
        if (this.#left === 0 && !this.#stopped) this.#handler.onData(stream, bytes.subarray(at, at), this.#end);
        continue;
      }
      const next = at + frameHeaderBytes + length;
      if (next > bytes.length) break;
      this.#handler.onFrame(type, flags, stream, bytes.subarray(at + frameHeaderBytes, next));
      at = next;
    }
    if (at < bytes.length && !this.#stopped) this.#rest = owned(at === 0 ? bytes : bytes.subarray(at));
  }

  /** How much of the bytes belongs to the preface. */
  #preface(bytes: Buffer): number {
    const size = Math.min(this.#prefaceLeft, bytes.length);
    const start = preface.length - this.#prefaceLeft;
    this.#prefaceLeft -= size;
    if (preface.compare(bytes, 0, size, start, start + size) !== 0) {
      this.#breach(errorCode.protocolError, 'the connection does not begin as HTTP/2 does');
    }
    return size;
  }

  /** Where the content begins. */
  #unpad(bytes: Buffer, at: number, length: number): number {
    const padding = bytes[at] ?? 0;
    if (length === 0) this.#breach(errorCode.frameSizeError, 'DATA of a wrong size');
    else if (padding >= length) this.#breach(errorCode.protocolError, 'padding longer than its frame');
    if (this.#stopped) return at;
    this.#left = length - 1 - padding;
    this.#padding = padding;
    this.#handler.onPadding(this.#stream, padding + 1);
    return at + 1;
  }

  #breach(code: number, message: string): void {
    this.stop();
    this.#handler.onBreach({ code, message });
  }

  #content(bytes: Buffer, at: number): number {
    const to = Math.min(bytes.length, at + this.#left);
    this.#left -= to - at;
    const content = at === 0 && to === bytes.length ? bytes : partOf(bytes, at, to);
    this.#handler.onData(this.#stream, content, this.#end && this.#left === 0);
    return to;
  }
}
