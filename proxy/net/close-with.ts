/**
 * Ends a connection together with the last of what is written. A write and the end that follows it are two segments; a client
 * that has read its answer closes between them, and then it is its port that stays in TIME_WAIT for a minute. One that
 * connects for each request has soon used up half of its 28,000 ports, and looks through these for each connection.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { fdOf, setsockopt } from './socket-options.ts';
import { isPlainTcp, writeHeld, writeTogether } from './write-together.ts';

// netinet/in.h, netinet/tcp.h
const IPPROTO_TCP = 6;
const TCP_CORK = 3;

const on = Buffer.alloc(4);
on.writeInt32LE(1);

/**
 * To a peer that has said that it sends nothing more: what it sent all the same, and nobody read, would make a reset of the
 * end, and the reset would take what was written from it (RFC 9112 section 9.6). `last` may be bytes of a shared read.
 */
export function closeWith(to: Duplex, last: Buffer): void {
  const plain = isPlainTcp(to);
  if (last.length === 0) writeHeld(to);
  else {
    // Where the option is refused they are two segments.
    if (plain) cork(to);
    writeTogether(to, last, false);
  }
  if (plain && to.writableLength === 0) to.destroy();
  else to.end();
}

/** The system keeps back a segment that is not full until the end, or for 200 ms. */
function cork(socket: Socket): void {
  const fd = fdOf(socket);
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_CORK, on, on.length);
}
