/**
 * Writes what comes in one turn of the event loop to a TCP connection by one system call. A body arrives in pieces of a
 * TLS record or less: written one by one, each cost a call, a segment and a wake-up of its reader.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { owned } from './shared-reads.ts';

let corked: Socket[] = [];

function uncorkAll(): void {
  const sockets = corked;
  corked = [];
  for (const socket of sockets) if (socket.writableCorked > 0) socket.uncork();
}

/**
 * As `to.write`. Bytes of which `more` is sure to follow go out with it, at the end of this turn at the latest; others at
 * once, behind what was held.
 */
export function writeTogether(to: Duplex, bytes: Buffer, more: boolean): boolean {
  // HTTP/2 streams gather by themselves, and copy what they keep; a TLS connection would copy what is written together.
  if (!(to instanceof Socket) || to instanceof TLSSocket) return to.write(bytes);
  if (more && to.writableCorked === 0) {
    to.cork();
    if (corked.push(to) === 1) setImmediate(uncorkAll);
  }
  const open = to.write(owned(bytes));
  if (!more && to.writableCorked > 0) to.uncork();
  return open;
}
