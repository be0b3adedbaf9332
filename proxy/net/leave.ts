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
