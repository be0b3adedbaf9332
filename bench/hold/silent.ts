/** Takes requests and never answers; prints each second how many it has, until its input ends. */
import net from 'node:net';
import { holdPort } from '../nginx.ts';

let open = 0;
net
  .createServer((socket) => {
    open++;
    socket.on('error', () => socket.destroy()).on('close', () => open--);
    socket.resume();
  })
  .listen({ port: holdPort, host: '127.0.0.1', backlog: 4096 });
setInterval(() => process.stdout.write(`${open}\n`), 500);
process.stdin.resume().on('end', () => process.exit(0));
