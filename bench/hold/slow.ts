/**
 * `slow.ts URL COUNT`: opens so many connections, a third of them for a head that comes byte by byte, a third for a body
 * that does, a third to ask for much and read nothing; says each second how many are open, until its input ends.
 */
import net from 'node:net';

const [url, wanted] = [new URL(process.argv[2]!), Number(process.argv[3])];
const host = `Host: ${url.host}\r\n`;
const begin = [
  `GET / HTTP/1.1\r\n${host}X-Slow: `,
  `POST /hold HTTP/1.1\r\n${host}Content-Length: 1000000\r\n\r\n`,
  `GET /files/1m HTTP/1.1\r\n${host}\r\n`.repeat(20),
];
let open = 0;
for (let i = 0; i < wanted; i++) {
  const socket = net.connect({ host: url.hostname, port: Number(url.port || 80) });
  let timer: NodeJS.Timeout | undefined;
  let connected = false;
  socket.pause();
  socket.on('error', () => {}); // Its close tells.
  socket.on('connect', () => {
    open++;
    connected = true;
    socket.write(begin[i % begin.length]!);
    if (i % begin.length < 2) timer = setInterval(() => socket.write('a'), 1000);
  });
  socket.on('close', () => {
    if (connected) open--;
    clearInterval(timer);
  });
  // So that the server's backlog takes them all.
  if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 20));
}
setInterval(() => process.stdout.write(`${open}\n`), 500);
process.stdin.resume().on('end', () => process.exit(0));
