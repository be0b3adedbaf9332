/** The end of a connection that nobody reads any more. */
import type { Duplex } from 'node:stream';

/** For what was written last to arrive, and for the peer to close its side. */
const lingerMs = 1_000;

/** Ends it in order, or at once; whatever befalls it then has been told already. */
export function leave(socket: Duplex, atOnce: boolean): void {
  socket.on('error', () => {});
  if (atOnce) return void socket.destroy();
  socket.end();
  // A peer that never closes its side does not keep ours.
  setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.resume();
}

/** Connections whose end is waited for at once. */
const maxAwaited = 1024;
let awaited = 0;

/**
 * Waits a while for the end of a connection whose peer has said that it closes it, and whose `end` closes it. The port of
 * whoever closes first stays in TIME_WAIT for a minute, and to one address we have 28,000 of them.
 */
export function letClose(socket: Duplex): void {
  if (socket.destroyed || socket.readableEnded || awaited >= maxAwaited) return void socket.destroy();
  awaited++;
  if (socket.isPaused()) socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.once('close', () => {
    awaited--;
    clearTimeout(timer);
  });
}

/** For a last word to arrive at a peer that may go on sending all the while. */
const wordMs = 250;

/**
 * Ends it behind a last word to a peer that broke the rules. Nothing more of it is read; closed at once, what is unread
 * would make a reset of the end, and the reset would take the word from the peer (RFC 1122 section 4.2.2.13).
 */
export function dismiss(socket: Duplex): void {
  socket.on('error', () => {});
  socket.pause();
  socket.end();
  setTimeout(() => socket.destroy(), wordMs).unref();
}
