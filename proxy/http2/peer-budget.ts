/** What a peer may make this end do without sending anything of worth: beyond it, the connection ends. */
import { errorCode, frame } from './frames.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * Frames that cost this end work and the peer nothing: per second, and at once. Each frame of a message adds one: gRPC
 * clients measure the connection with a PING for as many as one DATA frame.
 */
const idleFrames = { rate: 500, burst: 5_000 };
/** A reader may widen two windows for each frame it gets, in whatever steps it reads: so many for each, and per KiB of it one more. */
const windowUpdates = { rate: 500, burst: 5_000, perFrame: 10 };
/** Streams that a peer resets, or makes this end reset (CVE-2023-44487, CVE-2025-8671). One that ends in order adds one. */
const resets = { rate: 200, burst: 1_000 };
/** Streams that this end has reset and whose last frames may still be on their way. */
const remembered = 1024;

/** Codes of resets that the peer has made necessary. */
const breaches: ReadonlySet<number> = new Set([
  errorCode.protocolError,
  errorCode.flowControlError,
  errorCode.streamClosed,
  errorCode.frameSizeError,
  errorCode.enhanceYourCalm,
]);

export class PeerBudget {
  readonly #idleFrames = new TokenBucket(idleFrames.rate, idleFrames.burst);
  readonly #windowUpdates = new TokenBucket(windowUpdates.rate, windowUpdates.burst);
  readonly resets = new TokenBucket(resets.rate, resets.burst);
  /** Made for the first of them, which most connections never have. */
  #reset: Set<number> | undefined;

  /** A frame of a message, with so many bytes of content, has come or gone. */
  earn(bytes: number): void {
    this.#idleFrames.give(1);
    this.#windowUpdates.give(windowUpdates.perFrame + (bytes >> 10));
  }

  /** Whether the peer may send one more of the type: an empty one, where it is DATA. */
  bearsFrame(type: number): boolean {
    if (type === frame.headers || type === frame.continuation || type === frame.rstStream) return true;
    return (type === frame.windowUpdate ? this.#windowUpdates : this.#idleFrames).take();
  }

  /** Notes a stream that this end has reset. */
  wasReset(stream: number): void {
    this.#reset ??= new Set();
    if (this.#reset.size >= remembered) this.#reset.delete(this.#reset.values().next().value!);
    this.#reset.add(stream);
  }

  /** Whether the peer may go on after this end has reset a stream with the code. */
  bears(code: number): boolean {
    return !breaches.has(code) || this.resets.take();
  }

  /** Whether this end has reset the stream, and the peer may not know. */
  hasReset(stream: number): boolean {
    return this.#reset?.has(stream) === true;
  }

  /** Whether the peer cannot be blamed for one more header block on the stream. */
  mayTrail(stream: number): boolean {
    return this.#reset?.delete(stream) === true;
  }
}
