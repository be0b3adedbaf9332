/** How a connection ends in order (RFC 9113 section 6.8): what either end has said of it. */
import type { FrameWriter } from './frame-writer.ts';
import { errorCode, frame, maxWindow, uint32 } from './frames.ts';
import type { StreamIds } from './stream-ids.ts';

/** For streams that the peer began before it heard that it should not. */
const drainMs = 1_000;

export class Goaway {
  readonly #writer: FrameWriter;
  readonly #ids: StreamIds;
  #draining = false;
  /** One end has named the last stream that there will be. */
  closing = false;

  constructor(writer: FrameWriter, ids: StreamIds) {
    this.#writer = writer;
    this.#ids = ids;
  }

  /** `code`: of section 7. `last`: the last stream that is looked at. */
  say(code: number, last = this.#ids.lastOfPeer): void {
    this.#writer.frame(frame.goaway, 0, 0, Buffer.concat([uint32(last), uint32(code)]));
  }

  /** Announces the end to the peer, and closes the session once it has heard of it, or could have. */
  drain(session: { ping(answered: () => void): void; close(): void }): void {
    if (this.#draining || this.closing) return;
    this.#draining = true;
    this.say(errorCode.noError, maxWindow);
    const timer = setTimeout(() => session.close(), drainMs);
    timer.unref();
    session.ping(() => {
      clearTimeout(timer);
      session.close();
    });
  }
}
