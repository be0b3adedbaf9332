/**
 * What a test and its agent in a pod (agent.ts) tell each other over the agent's standard streams: frames of a length
 * (4 bytes, of all that follows), a kind (1), the number of a socket (4) and a body. Neither side sends more than
 * `windowBytes` of data on a socket before the other says that it was passed on, so a reader that does not read holds
 * the writer back.
 */
import { Buffer } from 'node:buffer';

export const windowBytes = 1 << 19;

export type Kind =
  /** Open a connection; body: `address port`. */
  | 'dial'
  /** Listen on a port, 0 for any; body: the port. The answer is the same kind, with the port. */
  | 'listen'
  /** The listener of that number has a connection; body: `number address`. */
  | 'accepted'
  | 'data'
  /** That many bytes of data were passed on. */
  | 'credit'
  /** The end of one direction. */
  | 'end'
  | 'reset'
  /** Both directions are over; body: the code of the error, if one ended them. */
  | 'closed';

const kinds: Kind[] = ['dial', 'listen', 'accepted', 'data', 'credit', 'end', 'reset', 'closed'];
const headBytes = 9;

export function frame(kind: Kind, id: number, body: Buffer | string = ''): Buffer {
  const bytes = Buffer.from(body as string);
  const head = Buffer.alloc(headBytes);
  head.writeUInt32BE(headBytes - 4 + bytes.length, 0);
  head.writeUInt8(kinds.indexOf(kind), 4);
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, bytes]);
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #on: (kind: Kind, id: number, body: Buffer) => void;
  #rest: Buffer[] = [];
  #size = 0;

  constructor(on: (kind: Kind, id: number, body: Buffer) => void) {
    this.#on = on;
  }

  push(chunk: Buffer): void {
    this.#rest.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed()) return;
    let all = Buffer.concat(this.#rest);
    while (all.length >= 4 && all.length >= frameBytes(all)) {
      const end = frameBytes(all);
      this.#on(kinds[all.readUInt8(4)]!, all.readUInt32BE(5), all.subarray(headBytes, end));
      all = all.subarray(end);
    }
    this.#rest = [all];
    this.#size = all.length;
  }

  /** Bytes of the frame that has begun. */
  #needed(): number {
    const first = this.#rest[0]!;
    return first.length >= 4 ? frameBytes(first) : 4;
  }
}

const frameBytes = (begun: Buffer): number => 4 + begun.readUInt32BE(0);
