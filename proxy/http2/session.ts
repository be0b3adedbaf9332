/**
 * An HTTP/2 connection (RFC 9113), either end: settings, streams, flow control, and a bound on all that a peer can make
 * this end do or keep.
 */
import type { Duplex } from 'node:stream';
import type { Breach } from './breach.ts';
import { FrameReader } from './frame-reader.ts';
import { frameBreach } from './frame-rules.ts';
import { FrameWriter } from './frame-writer.ts';
import { errorCode, flag, frame, maxWindow, preface, uint32 } from './frames.ts';
import { type HeaderBlock, HeaderBlocks } from './header-blocks.ts';
import { encodeHeaders } from './hpack-encoder.ts';
import { ReceiveFlow } from './receive-flow.ts';
import { SendFlow } from './send-flow.ts';
import { type Http2Settings, ownSettings, type Role } from './settings.ts';
import { Http2Stream, type StreamOwner, StreamReset } from './stream.ts';
import { TokenBucket } from './token-bucket.ts';

const empty = Buffer.alloc(0);
/** Acknowledgements that the peer does not read. */
const maxUnsent = 1 << 20;
/** Frames that cost this end work and the peer nothing: per second, and at once. */
const idleFrames = { rate: 500, burst: 5_000 };
/** Streams that a peer resets (CVE-2023-44487). */
const resets = { rate: 200, burst: 1_000 };

export interface Http2SessionOptions {
  role: Role;
  settings: Http2Settings;
  /** The peer began a stream: name, value, name, value… `end`: it has no content. Server only. */
  onStream?: (stream: Http2Stream, headers: string[], end: boolean) => void;
  /** No new stream can be begun from now on. */
  onGoaway?: () => void;
  /** The connection is over; called once, with the cause where it was not ended in order. */
  onClose: (error: Error | undefined) => void;
}

export type HeadersCallback = (headers: string[], end: boolean) => void;

export class Http2Session implements StreamOwner {
  readonly #socket: Duplex;
  readonly #options: Http2SessionOptions;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #sending: SendFlow;
  readonly #receiving: ReceiveFlow;
  readonly #blocks: HeaderBlocks;
  readonly #streams = new Map<number, Http2Stream>();
  /** Who hears of the next headers of a stream that this end began. */
  readonly #answers = new Map<number, HeadersCallback>();
  readonly #pings: (() => void)[] = [];
  readonly #idleFrames = new TokenBucket(idleFrames.rate, idleFrames.burst);
  readonly #resets = new TokenBucket(resets.rate, resets.burst);
  #nextId: number;
  /** The highest stream of the peer's so far. */
  #lastPeerId = 0;
  #settled = false;
  #closing = false;
  #over = false;

  /** Takes the connection over; it must not have been read from behind its TLS handshake. */
  constructor(socket: Duplex, options: Http2SessionOptions) {
    this.#socket = socket;
    this.#options = options;
    const { settings, role } = options;
    this.#nextId = role === 'client' ? 1 : 2;
    this.#blocks = new HeaderBlocks(settings.maxHeaderListBytes);
    this.#reader = new FrameReader(role === 'server', {
      onDataHead: (stream, length) => this.#onDataHead(stream, length),
      onData: (stream, content, end) => this.#onData(stream, content, end),
      onFrame: (type, flags, stream, payload) => this.#onFrame(type, flags, stream, payload),
      onBreach: ({ code, message }) => this.#fail(code, message),
    });
    this.#writer = new FrameWriter(socket, () => this.#sending.pump());
    this.#sending = new SendFlow(this.#writer, this.#streams);
    if (role === 'client') socket.write(preface);
    this.#writer.frame(frame.settings, 0, 0, ownSettings(settings, role));
    this.#receiving = new ReceiveFlow(this.#writer, settings);
    socket.on('data', (chunk: Buffer) => this.#reader.push(chunk));
    socket.on('end', () => this.#end(undefined));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(undefined));
    socket.resume();
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Whether a stream can be begun now. */
  get usable(): boolean {
    return !this.#over && !this.#closing && this.#streams.size < this.#sending.maxStreams && this.#nextId < maxWindow;
  }

  // === For its user ===

  /** Begins a stream; `block` is an encoded header block. Only while `usable`. */
  request(block: Buffer, onHeaders: HeadersCallback): Http2Stream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new Http2Stream(this, id, this.#sending.streamWindow, this.#options.settings.streamWindow);
    this.#streams.set(id, stream);
    this.#answers.set(id, onHeaders);
    this.#writer.frame(frame.headers, flag.endHeaders, id, block);
    return stream;
  }

  /** Calls back when the peer has answered. */
  ping(callback: () => void): void {
    this.#pings.push(callback);
    this.#writer.frame(frame.ping, 0, 0, Buffer.alloc(8));
  }

  /** Begins no more streams and takes no more; ends when those there are have ended. */
  close(): void {
    if (this.#closing || this.#over) return;
    this.#closing = true;
    this.#goaway(errorCode.noError);
    if (this.#streams.size === 0) this.#end(undefined);
  }

  destroy(error?: Error): void {
    this.#end(error);
  }

  // === For its streams ===

  sendHeaders(id: number, headers: readonly string[], end: boolean): void {
    this.#writer.frame(frame.headers, flag.endHeaders | (end ? flag.endStream : 0), id, encodeHeaders(headers));
  }

  sendData(stream: Http2Stream, chunk: Buffer): number {
    return this.#sending.send(stream, chunk);
  }

  sendEnd(stream: Http2Stream): void {
    this.#writer.frame(frame.data, flag.endStream, stream.id, empty);
    stream.localOpen = false;
    this.halfClosed(stream);
  }

  waitsForWindow(stream: Http2Stream): void {
    this.#sending.wait(stream);
  }

  widen(stream: Http2Stream, credit: number): boolean {
    return this.#receiving.widen(stream, credit);
  }

  halfClosed(stream: Http2Stream): void {
    if (!stream.localOpen && !stream.remoteOpen) this.#forget(stream);
  }

  closed(stream: Http2Stream, code: number): void {
    if (!this.#streams.has(stream.id)) return;
    stream.localOpen = false;
    stream.remoteOpen = false;
    if (!this.#over) this.#writer.frame(frame.rstStream, 0, stream.id, uint32(code));
    this.#forget(stream);
  }

  #forget(stream: Http2Stream): void {
    this.#sending.forget(stream);
    this.#answers.delete(stream.id);
    this.#streams.delete(stream.id);
    if (this.#closing && this.#streams.size === 0) this.#end(undefined);
  }

  // === From the peer ===

  #onDataHead(id: number, length: number): void {
    if (this.#blocks.open > 0 || !this.#settled) return this.#fail(errorCode.protocolError, 'DATA where it may not be');
    if (id === 0 || this.#isIdle(id)) return this.#fail(errorCode.protocolError, 'DATA on no stream');
    this.#receiving.take(length);
    if (length === 0 && !this.#idleFrames.take()) return this.#calm('empty DATA frames');
    const stream = this.#streams.get(id);
    if (!stream?.remoteOpen) return;
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) stream.reset(errorCode.flowControlError);
  }

  #onData(id: number, content: Buffer, end: boolean): void {
    const stream = this.#streams.get(id);
    if (stream?.remoteOpen) stream.receive(content, end);
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    if (this.#blocks.open > 0 && (type !== frame.continuation || id !== this.#blocks.open)) {
      return this.#fail(errorCode.protocolError, 'a header block is interrupted');
    }
    if (!this.#settled && (type !== frame.settings || flags & flag.ack)) {
      return this.#fail(errorCode.protocolError, 'the first frame is not SETTINGS');
    }
    const breach = frameBreach(type, flags, id, payload.length);
    if (breach) return this.#fail(breach.code, breach.message);
    switch (type) {
      case frame.data:
        return this.#onPaddedData(flags, id, payload);
      case frame.headers:
        return this.#onBlock(this.#blocks.begin(flags, id, payload));
      case frame.continuation:
        if (this.#blocks.open === 0) return this.#fail(errorCode.protocolError, 'CONTINUATION of nothing');
        return this.#onBlock(this.#blocks.go(flags, payload));
      case frame.rstStream:
        return this.#onReset(id, payload);
      case frame.settings:
        return this.#onSettings(flags, payload);
      case frame.ping:
        return this.#onPing(flags, payload);
      case frame.goaway:
        return this.#onGoaway(payload);
      case frame.windowUpdate:
        return this.#onWindowUpdate(id, payload);
      case frame.pushPromise:
        return this.#fail(errorCode.protocolError, 'PUSH_PROMISE although push is off');
      case frame.priority:
        if (!this.#idleFrames.take()) this.#calm('PRIORITY frames');
        return;
      default:
        // Unknown ones are ignored (section 5.5).
        if (!this.#idleFrames.take()) this.#calm('unknown frames');
    }
  }

  #onPaddedData(flags: number, id: number, payload: Buffer): void {
    const padding = payload[0] ?? 0;
    if (padding >= payload.length) return this.#fail(errorCode.protocolError, 'padding longer than its frame');
    this.#onDataHead(id, payload.length);
    if (this.#over) return;
    // Padding is read by nobody: given back at once.
    const stream = this.#streams.get(id);
    if (stream) stream.credit(padding + 1);
    this.#onData(id, payload.subarray(1, payload.length - padding), (flags & flag.endStream) !== 0);
  }

  #onBlock(block: HeaderBlock | Breach | undefined): void {
    if (!block) return;
    if ('code' in block) return this.#fail(block.code, block.message);
    const { stream: id, end, headers, tooLarge } = block;
    const stream = this.#streams.get(id);
    if (stream) {
      if (!stream.remoteOpen) return this.#fail(errorCode.streamClosed, 'HEADERS on a closed stream');
      if (tooLarge) return stream.reset(errorCode.enhanceYourCalm);
      const answer = this.#answers.get(id);
      answer?.(headers, end);
      // Trailers, or a head alone: the stream ends.
      if (end) stream.receive(empty, true);
      return;
    }
    if (this.#options.role === 'client') {
      if (this.#isIdle(id)) this.#fail(errorCode.protocolError, 'HEADERS on a stream that was not begun');
      return;
    }
    if (id % 2 === 0 || id <= this.#lastPeerId) {
      return this.#fail(errorCode.protocolError, 'a stream begun twice or by the wrong end');
    }
    this.#begin(block);
  }

  #begin({ stream: id, headers, end, tooLarge }: HeaderBlock): void {
    const { settings, onStream } = this.#options;
    // Behind a GOAWAY: the peer knows that nobody has looked at it (section 6.8).
    if (this.#closing) return;
    this.#lastPeerId = id;
    const refuse = (code: number) => {
      this.#writer.frame(frame.rstStream, 0, id, uint32(code));
      if (!this.#resets.take()) this.#calm('refused streams');
    };
    if (this.#streams.size >= settings.maxStreams) return refuse(errorCode.refusedStream);
    if (tooLarge) return refuse(errorCode.enhanceYourCalm);
    const stream = new Http2Stream(this, id, this.#sending.streamWindow, settings.streamWindow);
    this.#streams.set(id, stream);
    onStream?.(stream, headers, end);
    if (end) stream.receive(empty, true);
  }

  #onReset(id: number, payload: Buffer): void {
    if (this.#isIdle(id)) return this.#fail(errorCode.protocolError, 'RST_STREAM on no stream');
    const stream = this.#streams.get(id);
    if (!this.#resets.take()) return this.#calm('resets');
    if (!stream) return;
    const code = payload.readUInt32BE(0);
    if (code === errorCode.noError && !stream.remoteOpen) return stream.stopSending();
    this.#streams.delete(id);
    stream.abort(new StreamReset(code, 'the peer has reset the stream'));
    this.#forget(stream);
  }

  #onSettings(flags: number, payload: Buffer): void {
    if (flags & flag.ack) return;
    if (!this.#idleFrames.take()) return this.#calm('SETTINGS frames');
    this.#settled = true;
    for (let at = 0; at < payload.length && !this.#over; at += 6) {
      const breach = this.#sending.setting(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
      if (breach) this.#fail(breach.code, breach.message);
    }
    if (this.#over) return;
    this.#writer.frame(frame.settings, flag.ack, 0, empty);
    this.#sending.pump();
    this.#boundUnsent();
  }

  #onPing(flags: number, payload: Buffer): void {
    if (flags & flag.ack) {
      this.#pings.shift()?.();
      return;
    }
    if (!this.#idleFrames.take()) return this.#calm('PING frames');
    this.#writer.frame(frame.ping, flag.ack, 0, Buffer.from(payload));
    this.#boundUnsent();
  }

  #onGoaway(payload: Buffer): void {
    const last = payload.readUInt32BE(0) & maxWindow;
    const told = !this.#closing;
    this.#closing = true;
    if (told) this.#options.onGoaway?.();
    for (const stream of [...this.#streams.values()]) {
      if (stream.id <= last || stream.id % 2 !== this.#nextId % 2) continue;
      this.#streams.delete(stream.id);
      stream.abort(new StreamReset(errorCode.refusedStream, 'the peer is closing and has not looked at the stream'));
      this.#forget(stream);
    }
    if (this.#streams.size === 0) this.#end(undefined);
  }

  #onWindowUpdate(id: number, payload: Buffer): void {
    const bytes = payload.readUInt32BE(0) & maxWindow;
    if (id === 0) {
      const breach = this.#sending.widen(bytes);
      if (breach) this.#fail(breach.code, breach.message);
      return;
    }
    if (this.#isIdle(id)) return this.#fail(errorCode.protocolError, 'WINDOW_UPDATE on no stream');
    const stream = this.#streams.get(id);
    if (stream) this.#sending.widenStream(stream, bytes);
  }

  /** Neither end has begun it. */
  #isIdle(id: number): boolean {
    return id % 2 === this.#nextId % 2 ? id >= this.#nextId : id > this.#lastPeerId;
  }

  // === Ends ===

  #boundUnsent(): void {
    if (this.#writer.unsent > maxUnsent) this.#calm('frames while it reads nothing');
  }

  #calm(what: string): void {
    this.#fail(errorCode.enhanceYourCalm, `too many ${what}`);
  }

  #fail(code: number, message: string): void {
    if (this.#over) return;
    this.#goaway(code);
    this.#end(new Error(`HTTP/2: ${message}`));
  }

  #goaway(code: number): void {
    this.#writer.frame(frame.goaway, 0, 0, Buffer.concat([uint32(this.#lastPeerId), uint32(code)]));
  }

  #end(error: Error | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#reader.stop();
    this.#writer.finish();
    for (const stream of [...this.#streams.values()]) {
      this.#streams.delete(stream.id);
      stream.abort(new StreamReset(errorCode.cancel, error?.message ?? 'the connection is over'));
    }
    this.#answers.clear();
    this.#socket.on('error', () => {}); // told already
    if (error) this.#socket.destroy();
    else {
      this.#socket.end();
      // A peer that never closes its side does not keep ours.
      setTimeout(() => this.#socket.destroy(), 1_000).unref();
      this.#socket.resume();
    }
    this.#options.onClose(error);
  }
}
