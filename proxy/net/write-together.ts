/**
 * Writes what comes in one turn of the event loop to a TCP connection by one system call. A body arrives in pieces of a
 * TLS record or less: written one by one, each cost a call, a segment and a wake-up of its reader.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { isShared, owned } from './shared-reads.ts';
import { largeBlocks } from './write-blocks.ts';

/**
 * Pieces from here on are copied to memory that is used again. Smaller ones are not: a reader that stops would hold a block
 * for each of those that trickle in.
 */
const blockBytes = 8 << 10;

function needsBlock(bytes: Buffer): boolean {
  return bytes.length >= blockBytes && isShared(bytes);
}

/** A block of pieces to one connection, until they are written. */
class Block {
  readonly #memory: Buffer;
  #used = 0;
  #unwritten = 1;
  /** A piece is written, or never will be; once more when no other follows. */
  readonly done = (): void => {
    if (--this.#unwritten === 0) largeBlocks.giveBack(this.#memory);
  };

  /** With room for `bytes` at least. */
  constructor(bytes: number) {
    this.#memory = largeBlocks.take(bytes);
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.#memory.length;
  }

  write(to: Socket, bytes: Buffer): boolean {
    const start = this.#used;
    this.#used += bytes.copy(this.#memory, start);
    this.#unwritten++;
    return to.write(this.#memory.subarray(start, this.#used), this.done);
  }
}

/** What goes to one connection in one turn. */
class Pieces {
  readonly to: Socket;
  #block: Block | undefined;

  constructor(to: Socket) {
    this.to = to;
  }

  write(bytes: Buffer): boolean {
    if (!needsBlock(bytes)) return this.to.write(owned(bytes));
    if (!this.#block?.hasRoom(bytes.length)) {
      this.#block?.done();
      this.#block = new Block(bytes.length);
    }
    return this.#block.write(this.to, bytes);
  }

  end(): void {
    this.#block?.done();
    this.#block = undefined;
    if (this.to.writableCorked > 0) this.to.uncork();
  }
}

/** Connections whose pieces are held until the end of this turn. */
let corked: Pieces[] = [];

function uncorkAll(): void {
  const turn = corked;
  corked = [];
  for (const pieces of turn) pieces.end();
}

/**
 * As `to.write`, and `bytes` may be those of a shared read. Those of which `more` is sure to follow go out with it, at the
 * end of this turn at the latest; others at once, behind what was held.
 */
export function writeTogether(to: Duplex, bytes: Buffer, more: boolean): boolean {
  // HTTP/2 streams gather by themselves, and copy what they keep; a TLS connection would copy what is written together.
  if (!(to instanceof Socket) || to instanceof TLSSocket) return to.write(bytes);
  if (!more && to.writableCorked === 0 && !needsBlock(bytes)) return to.write(owned(bytes));
  const open = piecesOf(to).write(bytes);
  if (!more) to.uncork();
  return open;
}

function piecesOf(to: Socket): Pieces {
  if (to.writableCorked === 0) to.cork();
  const known = corked.find((pieces) => pieces.to === to);
  if (known) return known;
  const pieces = new Pieces(to);
  if (corked.push(pieces) === 1) setImmediate(uncorkAll);
  return pieces;
}
