/**
 * Where a multitude of TLS connections comes in that live long and carry little. Node gives each a buffer as large as what
 * is first read of it, for as long as it lives: 64 KB where TLS reads from the start, 18 KB where it is handed bytes that
 * were read before. So each connection waits here for its first bytes.
 */
import net from 'node:net';
import type tls from 'node:tls';

/** Without a word for so long, a connection is of no use. */
const silentMs = 10_000;

/** The listener in front of a TLS server, which itself does not listen. */
export function lateHandshakes(server: tls.Server): net.Server {
  return net.createServer({ noDelay: true }, (socket) => {
    const leave = (): void => void socket.destroy();
    socket.setTimeout(silentMs, leave).once('error', leave);
    socket.once('readable', () => {
      socket.setTimeout(0, leave).off('error', leave);
      // Nothing to read: the client is gone.
      if (socket.readableLength === 0) leave();
      else server.emit('connection', socket);
    });
  });
}
