/**
 * What a peer says last is heard, although it has reset the connection by then. A server that answers before it has read the
 * whole request, or says GOAWAY, and closes with bytes unread makes its system reset the connection (RFC 1122 section
 * 4.2.2.13). Where a write comes upon that first, Node drops the connection, and with it the answer that waits to be read.
 */
import { Socket } from 'node:net';

const { destroy, push } = Socket.prototype;

/** Node's own: with the error of a write in it nothing is read any more. */
interface Reading {
  _readableState: { errored: Error | null };
}

/**
 * From now on a write that comes upon a reset destroys a connected socket only once all that had arrived is read. Its end
 * is that failure then, and no orderly one.
 */
export function hearLastWords(socket: Socket): void {
  socket.destroy = destroyOnceHeard;
}

function destroyOnceHeard(this: Socket, error?: Error): Socket {
  this.destroy = destroy;
  if (this.destroyed || this.readableEnded || !isReset(error)) return this.destroy(error);
  (this as unknown as Reading)._readableState.errored = null;
  this.push = (bytes: Buffer | null): boolean => {
    if (bytes !== null) return push.call(this, bytes);
    this.destroy(error);
    return false;
  };
  // An orderly end that had come before, and is about to be told.
  this.once('end', () => this.destroy(error));
  return this;
}

/** Of the failures of a write those that say that the connection is over: a read ends soon. */
function isReset(error: NodeJS.ErrnoException | undefined): boolean {
  return error?.syscall === 'write' && (error.code === 'EPIPE' || error.code === 'ECONNRESET');
}
