/**
 * Writes what comes in one turn of the event loop to a TCP connection by one system call. A body arrives in pieces of a
 * TLS record or less: written one by one, each cost a call, a segment and a wake-up of its reader.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { copied, isShared, owned } from './shared-reads.ts';
import { largeBlocks } from './write-blocks.ts';

/**
 * Pieces from here on are copied to memory that is used again. Smaller ones are not: a reader that stops would hold a block
 * for each of those that trickle in.
 */
const blockBytes = 8 << 10;

/**
 * `highWaterMark` of the connections that are written to so, in place of 64 KiB: room for what comes in one turn. A writer
 * that has to wait for each block has the rest of the turn copied and held elsewhere.
 */
export const turnBytes = 128 << 10;

/** Whether its bytes go to the system as they are. */
export function isPlainTcp(side: Duplex): side is Socket {
  return side instanceof Socket && !(side instanceof TLSSocket);
}

function needsBlock(bytes: Buffer): boolean {
  return bytes.length >= blockBytes && isShared(bytes);
}

/** What goes to one connection in one turn. Until the end of it the connection is corked, and blocks are filled. */
class Pieces {
  readonly to: Socket;
  #block: Buffer | undefined;
  #used = 0;
  /** Whoever writes has been told to wait. */
  #full = false;

  constructor(to: Socket) {
    this.to = to;
  }

  write(bytes: Buffer): boolean {
    if (!needsBlock(bytes)) {
      this.#writeBlock();
      return this.to.write(owned(bytes));
    }
    if (this.#block && this.#used + bytes.length > this.#block.length) this.#writeBlock();
    this.#block ??= largeBlocks.take(bytes.length);
    this.#used += bytes.copy(this.#block, this.#used);
    const open = this.to.writableLength + this.#used < this.to.writableHighWaterMark;
    this.#full ||= !open;
    return open;
  }

  #writeBlock(): void {
    const block = this.#block;
    if (!block) return;
    const bytes = block.subarray(0, this.#used);
    let open: boolean;
    // Behind bytes that wait it will wait too: less than half a block does not hold a whole one for so long.
    if (this.to.writableLength > 0 && this.#used < block.length / 2) {
      open = this.to.write(copied(bytes));
      largeBlocks.giveBack(block);
    } else open = this.to.write(bytes, () => largeBlocks.giveBack(block));
    // What was there when the writer was told to wait has gone meanwhile: nothing else will tell it to go on.
    if (open && this.#full) process.nextTick(() => this.to.emit('drain'));
    this.#full = false;
    this.#block = undefined;
    this.#used = 0;
  }

  end(): void {
    this.#writeBlock();
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
  if (!isPlainTcp(to)) return to.write(bytes);
  if (!more && to.writableCorked === 0 && !needsBlock(bytes)) return to.write(owned(bytes));
  const pieces = piecesTo(to);
  const open = pieces.write(bytes);
  if (!more) pieces.end();
  return open;
}

/** Writes what was held. */
export function writeHeld(to: Duplex): void {
  corked.find((pieces) => pieces.to === to)?.end();
}

/** As `to.end`, behind what was held. */
export function endTogether(to: Duplex): void {
  writeHeld(to);
  to.end();
}

function piecesTo(to: Socket): Pieces {
  if (to.writableCorked === 0) to.cork();
  const known = corked.find((pieces) => pieces.to === to);
  if (known) return known;
  const pieces = new Pieces(to);
  if (corked.push(pieces) === 1) setImmediate(uncorkAll);
  return pieces;
}
