/** The application that is not HTTP: sends back what it gets. */
import net from 'node:net';
import { mixPorts } from './target.ts';

net
  .createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  })
  .listen(mixPorts.opaque);
