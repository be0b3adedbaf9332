/**
 * An HTTP/2 connection (RFC 9113), either end: what becomes of its streams, of flow control and of the connection itself by
 * what its user asks for and what the peer says, and a bound on all that a peer can make this end do or keep.
 */
import type { Duplex } from 'node:stream';
import { dismiss, leave } from '../net/leave.ts';
import { FrameWriter } from './frame-writer.ts';
import { errorCode, flag, frame, preface, uint32 } from './frames.ts';
import { Goaway } from './goaway.ts';
import type { HeaderBlock } from './header-blocks.ts';
import { PeerBudget } from './peer-budget.ts';
import { PeerFrames } from './peer-frames.ts';
import { ReceiveFlow } from './receive-flow.ts';
import { SendFlow } from './send-flow.ts';
import type { Http2SessionOptions } from './session-options.ts';
import { type SessionStream, type StreamOwner, StreamReset } from './session-stream.ts';
import { ownSettings } from './settings.ts';
import { StreamIds } from './stream-ids.ts';
import { StreamTable } from './stream-table.ts';

/** Acknowledgements that the peer does not read. */
const maxUnsent = 1 << 20;

export class Http2Session<S extends SessionStream> implements StreamOwner {
  readonly #socket: Duplex;
  readonly #options: Http2SessionOptions<S>;
  readonly #peer: PeerFrames;
  readonly #writer: FrameWriter;
  readonly #sending: SendFlow;
  readonly #receiving: ReceiveFlow;
  readonly #streams = new StreamTable<S>();
  readonly #pings: (() => void)[] = [];
  readonly #budget = new PeerBudget();
  readonly #ids: StreamIds;
  readonly #goaway: Goaway;
  #over = false;
  /** Streams that this end has reset: what it costs of its peer's patience. */
  resetsSent = 0;

  /** Takes the connection over. What was read of it before is for `receive`. */
  constructor(socket: Duplex, options: Http2SessionOptions<S>) {
    this.#socket = socket;
    this.#options = options;
    const { settings, role, writeBlocks } = options;
    this.#ids = new StreamIds(role);
    this.#peer = new PeerFrames(role, settings.maxHeaderListBytes, this.#budget, {
      onDataHead: (id, length) => this.#onDataHead(id, length),
      // Read by nobody: given back at once.
      onPadding: (id, length) => this.#streams.get(id)?.credit(length),
      onData: (id, content, end) => this.#onData(id, content, end),
      onBlock: (block) => this.#onBlock(block),
      onBadPriority: (id) => this.#onBadPriority(id),
      onReset: (id, code) => this.#onReset(id, code),
      onSettings: (payload) => this.#onSettings(payload),
      onPing: (payload) => this.#onPing(payload),
      onPong: () => this.#pings.shift()?.(),
      onGoaway: (last) => this.#onGoaway(last),
      onWindowUpdate: (id, bytes) => this.#onWindowUpdate(id, bytes),
      onBreach: ({ code, message }) => this.#fail(code, message),
    });
    this.#writer = new FrameWriter(socket, () => this.#sending.pump(), writeBlocks);
    this.#goaway = new Goaway(this.#writer, this.#ids);
    this.#sending = new SendFlow(this.#writer, this.#streams, role);
    if (role === 'client') socket.write(preface);
    this.#writer.frame(frame.settings, 0, 0, ownSettings(settings, role));
    this.#receiving = new ReceiveFlow(this.#writer, settings);
    socket.on('data', (chunk: Buffer) => this.#peer.push(chunk));
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
    return this.lasting && this.#streams.size < this.#sending.maxStreams && this.#writer.unsent <= maxUnsent;
  }

  /** Whether streams can be begun now or once others have ended. */
  get lasting(): boolean {
    return !this.#over && !this.#goaway.closing && this.#ids.left;
  }

  /** Bytes of one header list that the peer reads. */
  get maxHeaderListBytes(): number {
    return this.#sending.maxHeaderListBytes;
  }

  /** The peer has told its settings: its limit of streams is known. */
  get settled(): boolean {
    return this.#peer.settled;
  }

  /** What the peer has begun and has to go on with before anything else. */
  get unfinished(): string | undefined {
    return this.#peer.unfinished;
  }

  /** Bytes of the peer's that were read before this session was made. */
  receive(bytes: Buffer): void {
    this.#peer.push(bytes);
  }

  /** Begins a stream; `block` is an encoded header block. `end`: it has no content. Only while `usable`. */
  request(block: Buffer, end = false): S {
    const stream = this.#add(this.#ids.take());
    this.sendHeaders(stream, block, end);
    return stream;
  }

  #add(id: number): S {
    const { makeStream, settings } = this.#options;
    const stream = makeStream(this, id, this.#sending.streamWindow, settings.streamWindow);
    this.#streams.add(stream);
    return stream;
  }

  /** Calls back when the peer has answered. */
  ping(callback: () => void): void {
    this.#pings.push(callback);
    this.#writer.frame(frame.ping, 0, 0, Buffer.alloc(8));
  }

  /**
   * Tells the peer to begin no more streams, takes those that are on their way, and ends when all have ended (section
   * 6.8).
   */
  drain(): void {
    if (this.#over) return;
    this.#goaway.drain(this);
  }

  /** Begins no more streams and takes no more; ends when those there are have ended. */
  close(): void {
    if (this.#goaway.closing || this.#over) return;
    this.#goaway.closing = true;
    this.#goaway.say(errorCode.noError);
    if (this.#streams.size === 0) this.#end(undefined);
  }

  destroy(error?: Error): void {
    this.#end(error);
  }

  // === For its streams ===

  sendHeaders(stream: SessionStream, block: Buffer, end: boolean): void {
    this.#sending.headers(stream, block, end);
    if (end) this.#sentAll(stream);
  }

  sendData(stream: SessionStream, chunk: Buffer, end: boolean): number {
    const sent = this.#sending.send(stream, chunk, end);
    if (sent > 0) this.#budget.earn(sent);
    if (end && sent === chunk.length) this.#sentAll(stream);
    return sent;
  }

  #sentAll(stream: SessionStream): void {
    stream.localOpen = false;
    this.halfClosed(stream);
  }

  get blocked(): boolean {
    return this.#sending.blocked;
  }

  waitsForWindow(stream: SessionStream): void {
    this.#sending.wait(stream);
  }

  widen(stream: SessionStream, credit: number): boolean {
    return this.#receiving.widen(stream, credit);
  }

  halfClosed(stream: SessionStream): void {
    if (stream.localOpen || stream.remoteOpen || !this.#streams.get(stream.id)) return;
    this.#budget.resets.give(1);
    this.#forget(stream);
  }

  closed(stream: SessionStream, code: number): void {
    if (!this.#streams.get(stream.id)) return;
    stream.localOpen = false;
    stream.remoteOpen = false;
    if (!this.#over) this.#reset(stream.id, code);
    this.#forget(stream);
    if (this.#options.role === 'server' && !this.#budget.bears(code)) this.#calm('streams that break the rules');
  }

  #reset(id: number, code: number): void {
    this.resetsSent++;
    this.#budget.wasReset(id);
    this.#writer.frame(frame.rstStream, 0, id, uint32(code));
  }

  #forget(stream: SessionStream): void {
    this.#sending.forget(stream);
    this.#streams.delete(stream.id);
    if (this.#over) return;
    if (this.#goaway.closing && this.#streams.size === 0) this.#end(undefined);
    else this.#options.onRoom?.();
  }

  // === From the peer ===

  #onDataHead(id: number, length: number): void {
    if (id === 0 || this.#ids.isIdle(id)) return this.#fail(errorCode.protocolError, 'DATA on no stream');
    this.#receiving.take(length);
    const stream = this.#streams.get(id);
    if (!stream?.remoteOpen) return this.#onLateData(id, stream);
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) stream.reset(errorCode.flowControlError);
  }

  /** Section 6.1; no error where this end has reset the stream, and the peer may not have heard of it (section 5.1). */
  #onLateData(id: number, stream: S | undefined): void {
    if (stream) return stream.reset(errorCode.streamClosed);
    if (!this.#ids.isPassedOver(id) && !this.#budget.hasReset(id))
      this.#refuse(id, errorCode.streamClosed, 'DATA on closed streams');
  }

  #onData(id: number, content: Buffer, end: boolean): void {
    const stream = this.#streams.get(id);
    if (stream?.remoteOpen) stream.receive(content, end);
  }

  #onBlock(block: HeaderBlock): void {
    const { stream: id, end, list, tooLarge } = block;
    this.#boundUnsent();
    if (this.#over) return;
    this.#budget.earn(0);
    const stream = this.#streams.get(id);
    if (stream) {
      if (!stream.remoteOpen) return this.#fail(errorCode.streamClosed, 'HEADERS on a closed stream');
      if (tooLarge) stream.reset(errorCode.enhanceYourCalm);
      else stream.receiveHeaders(list, end);
      return;
    }
    if (this.#options.role === 'client') {
      if (this.#ids.isIdle(id)) this.#fail(errorCode.protocolError, 'HEADERS on a stream that was not begun');
      return;
    }
    if (id % 2 === 0 || id <= this.#ids.highestOfPeer) {
      if (this.#budget.mayTrail(id)) return;
      return this.#fail(errorCode.protocolError, 'a stream begun twice or by the wrong end');
    }
    this.#ids.highestOfPeer = id;
    // Behind a GOAWAY: the peer knows that nobody has looked at it (section 6.8).
    if (!this.#goaway.closing) this.#begin(block);
  }

  #begin({ stream: id, list, end, tooLarge }: HeaderBlock): void {
    const { settings, onStream, onTooLarge } = this.#options;
    this.#ids.lastOfPeer = id;
    if (this.#streams.size >= settings.maxStreams) return this.#refuse(id, errorCode.refusedStream, 'refused streams');
    if (tooLarge && !onTooLarge) return this.#refuse(id, errorCode.enhanceYourCalm, 'refused streams');
    const stream = this.#add(id);
    if (tooLarge) onTooLarge?.(stream);
    else onStream?.(stream, list, end);
    if (end) stream.receiveEnd();
  }

  /** `what` the peer did ends the connection where it does it too often. */
  #refuse(id: number, code: number, what: string): void {
    this.#reset(id, code);
    if (!this.#budget.resets.take()) this.#calm(what);
  }

  #onReset(id: number, code: number): void {
    if (this.#ids.isIdle(id)) return this.#fail(errorCode.protocolError, 'RST_STREAM on no stream');
    const stream = this.#streams.get(id);
    // A server only ends what this end has asked of it.
    const free = stream && this.#options.role === 'client';
    if (!free && !this.#budget.resets.take()) return this.#calm('resets');
    if (!stream) return;
    if (code === errorCode.noError && !stream.remoteOpen) return stream.stopSending();
    this.#streams.delete(id);
    stream.abort(new StreamReset(code, 'the peer has reset the stream'));
    this.#forget(stream);
  }

  #onSettings(payload: Buffer): void {
    const breach = this.#sending.settings(payload);
    if (breach) return this.#fail(breach.code, breach.message);
    this.#writer.frame(frame.settings, flag.ack, 0);
    this.#sending.pump();
    this.#boundUnsent();
    if (!this.#over) this.#options.onRoom?.();
  }

  #onPing(payload: Buffer): void {
    this.#writer.frame(frame.ping, flag.ack, 0, Buffer.from(payload));
    this.#boundUnsent();
  }

  #onBadPriority(id: number): void {
    const stream = this.#streams.get(id);
    if (stream) stream.reset(errorCode.frameSizeError);
    // No stream that a reset could name (section 6.4).
    else if (this.#ids.isIdle(id)) this.#fail(errorCode.frameSizeError, 'PRIORITY of a wrong size');
  }

  #onGoaway(last: number): void {
    if (!this.#goaway.closing) {
      this.#goaway.closing = true;
      // A client may have begun streams meanwhile, and hears from this which are taken.
      if (this.#options.role === 'server') this.#goaway.say(errorCode.noError);
      this.#options.onGoaway?.();
    }
    for (const stream of this.#streams.all()) {
      if (stream.id <= last || !this.#ids.isOwn(stream.id)) continue;
      this.#streams.delete(stream.id);
      stream.abort(new StreamReset(errorCode.refusedStream, 'the peer is closing and has not looked at the stream'));
      this.#forget(stream);
    }
    if (this.#streams.size === 0) this.#end(undefined);
  }

  #onWindowUpdate(id: number, bytes: number): void {
    if (id === 0) {
      const breach = this.#sending.widen(bytes);
      if (breach) this.#fail(breach.code, breach.message);
      return;
    }
    if (this.#ids.isIdle(id)) return this.#fail(errorCode.protocolError, 'WINDOW_UPDATE on no stream');
    const stream = this.#streams.get(id);
    if (stream) this.#sending.widenStream(stream, bytes);
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
    this.#goaway.say(code);
    this.#end(new Error(`HTTP/2: ${message}`), true);
  }

  /** `told`: GOAWAY tells the peer why. */
  #end(error: Error | undefined, told = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#peer.stop();
    this.#writer.finish();
    for (const stream of this.#streams.all()) {
      this.#streams.delete(stream.id);
      stream.abort(new StreamReset(errorCode.cancel, error?.message ?? 'the connection is over', true));
    }
    if (told) dismiss(this.#socket);
    else leave(this.#socket, error !== undefined);
    this.#options.onClose(error);
  }
}
