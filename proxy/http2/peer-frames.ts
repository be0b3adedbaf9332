/**
 * What the peer says, as far as it can be judged by itself: frames of the right size in the right order, header blocks
 * whole and decoded, no more of what gives nothing than a peer may ask for. What is handed on keeps to all that.
 */
import type { Breach } from './breach.ts';
import { type FrameHandler, FrameReader } from './frame-reader.ts';
import { frameBreach, frameName, orderBreach } from './frame-rules.ts';
import { errorCode, flag, frame, maxWindow, priorityBytes } from './frames.ts';
import { type HeaderBlock, HeaderBlocks } from './header-blocks.ts';
import type { PeerBudget } from './peer-budget.ts';
import type { Role } from './settings.ts';

/** DATA as the reader tells it, and what its other frames say. `id`: of a stream, whichever. */
export interface PeerHandler extends Omit<FrameHandler, 'onFrame'> {
  onBlock(block: HeaderBlock): void;
  /** PRIORITY of a wrong size; of others nothing is told, for they mean nothing any more (RFC 9113 section 5.3.2). */
  onBadPriority(id: number): void;
  onReset(id: number, code: number): void;
  /** The payload of one that is no acknowledgement. */
  onSettings(payload: Buffer): void;
  /** Its eight bytes. */
  onPing(payload: Buffer): void;
  onPong(): void;
  /** `last`: the last stream that the peer looks at. */
  onGoaway(last: number): void;
  /** `id`: 0 for the connection. */
  onWindowUpdate(id: number, bytes: number): void;
}

export class PeerFrames {
  readonly #handler: PeerHandler;
  readonly #budget: PeerBudget;
  readonly #reader: FrameReader;
  readonly #blocks: HeaderBlocks;
  /** Its first SETTINGS have come. */
  settled = false;

  /** `role`: of this end. `maxHeaderListBytes`: of a list that is kept whole. */
  constructor(role: Role, maxHeaderListBytes: number, budget: PeerBudget, handler: PeerHandler) {
    this.#handler = handler;
    this.#budget = budget;
    this.#blocks = new HeaderBlocks(maxHeaderListBytes);
    this.#reader = new FrameReader(role === 'server', {
      onDataHead: (id, length) => this.#onDataHead(id, length),
      onPadding: (id, length) => handler.onPadding(id, length),
      onData: (id, content, end) => this.#onData(id, content, end),
      onFrame: (type, flags, id, payload) => this.#onFrame(type, flags, id, payload),
      onBreach: (breach) => handler.onBreach(breach),
    });
  }

  push(bytes: Buffer): void {
    this.#reader.push(bytes);
  }

  /** Nothing is handed on from now on. */
  stop(): void {
    this.#reader.stop();
  }

  /** What the peer has begun and has to go on with before anything else. */
  get unfinished(): string | undefined {
    if (!this.settled) return 'settings';
    return this.#blocks.open > 0 ? `headers of ${this.#blocks.open}` : undefined;
  }

  #onDataHead(id: number, length: number): void {
    if (this.#blocks.open > 0 || !this.settled) return this.#breach('DATA where it may not be');
    this.#handler.onDataHead(id, length);
  }

  #onData(id: number, content: Buffer, end: boolean): void {
    if (content.length > 0) this.#budget.earn(content.length);
    else if (!end && !this.#budget.bearsFrame(frame.data)) return this.#tooMany('empty DATA frames');
    this.#handler.onData(id, content, end);
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    const breach =
      orderBreach(type, flags, id, this.settled, this.#blocks.open) ?? frameBreach(type, flags, id, payload.length);
    if (breach) return this.#handler.onBreach(breach);
    if (!this.#budget.bearsFrame(type)) return this.#tooMany(frameName(type));
    switch (type) {
      case frame.headers:
        return this.#onBlock(this.#blocks.begin(flags, id, payload));
      case frame.continuation:
        return this.#onBlock(this.#blocks.go(flags, payload));
      case frame.rstStream:
        return this.#handler.onReset(id, payload.readUInt32BE(0));
      case frame.settings:
        if (flags & flag.ack) return;
        this.settled = true;
        return this.#handler.onSettings(payload);
      case frame.ping:
        return flags & flag.ack ? this.#handler.onPong() : this.#handler.onPing(payload);
      case frame.goaway:
        return this.#handler.onGoaway(payload.readUInt32BE(0) & maxWindow);
      case frame.windowUpdate:
        return this.#handler.onWindowUpdate(id, payload.readUInt32BE(0) & maxWindow);
      case frame.pushPromise:
        return this.#breach('PUSH_PROMISE although push is off');
      case frame.priority:
        if (payload.length !== priorityBytes) this.#handler.onBadPriority(id);
        return;
      // Unknown ones are ignored (section 5.5).
    }
  }

  #onBlock(block: HeaderBlock | Breach | undefined): void {
    if (!block) return;
    if ('code' in block) this.#handler.onBreach(block);
    else this.#handler.onBlock(block);
  }

  #breach(message: string): void {
    this.#handler.onBreach({ code: errorCode.protocolError, message });
  }

  #tooMany(what: string): void {
    this.#handler.onBreach({ code: errorCode.enhanceYourCalm, message: `too many ${what}` });
  }
}
