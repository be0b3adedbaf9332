/**
 * Writes what comes in one turn of the event loop to a TCP connection by one system call. A body arrives in pieces of a
 * TLS record or less: written one by one, each cost a call, a segment and a wake-up of its reader.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { isShared, owned } from './shared-reads.ts';
import { largeBlocks } from './write-blocks.ts';

/** Copied to memory that the collector has to find again; larger pieces to memory that is given back. */
const smallBytes = 1024;

/** Pieces of one turn to one connection, and where they lie until they are written. */
class Pieces {
  readonly to: Socket;
  readonly #memory: Buffer;
  #used = 0;
  #unwritten = 1;
  /** A piece is written, or never will be; once more when no other follows. */
  readonly done = (): void => {
    if (--this.#unwritten === 0) largeBlocks.giveBack(this.#memory);
  };

  /** With room for `bytes` at least. */
  constructor(to: Socket, bytes: number) {
    this.to = to;
    this.#memory = largeBlocks.take(bytes);
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.#memory.length;
  }

  /** As `to.write`; keeps a copy until it is written. */
  write(bytes: Buffer): boolean {
    const start = this.#used;
    this.#used += bytes.copy(this.#memory, start);
    this.#unwritten++;
    return this.to.write(this.#memory.subarray(start, this.#used), this.done);
  }
}

/** Connections whose pieces are held until the end of this turn. */
let corked: Pieces[] = [];

function uncorkAll(): void {
  const turn = corked;
  corked = [];
  for (const { to, done } of turn) {
    done();
    if (to.writableCorked > 0) to.uncork();
  }
}

/**
 * As `to.write`, and `bytes` may be those of a shared read. Those of which `more` is sure to follow go out with it, at the
 * end of this turn at the latest; others at once, behind what was held.
 */
export function writeTogether(to: Duplex, bytes: Buffer, more: boolean): boolean {
  // HTTP/2 streams gather by themselves, and copy what they keep; a TLS connection would copy what is written together.
  if (!(to instanceof Socket) || to instanceof TLSSocket) return to.write(bytes);
  if (!more && to.writableCorked === 0) return writeOne(to, bytes);
  const open = piecesOf(to, bytes.length).write(bytes);
  if (!more) to.uncork();
  return open;
}

function writeOne(to: Socket, bytes: Buffer): boolean {
  if (bytes.length <= smallBytes || !isShared(bytes)) return to.write(owned(bytes));
  const pieces = new Pieces(to, bytes.length);
  const open = pieces.write(bytes);
  pieces.done();
  return open;
}

/** With room for so many bytes more. */
function piecesOf(to: Socket, bytes: number): Pieces {
  const at = corked.findLastIndex((one) => one.to === to);
  const last = corked[at];
  if (to.writableCorked === 0) to.cork();
  if (last?.hasRoom(bytes)) return last;
  const pieces = new Pieces(to, bytes);
  if (corked.push(pieces) === 1) setImmediate(uncorkAll);
  return pieces;
}
