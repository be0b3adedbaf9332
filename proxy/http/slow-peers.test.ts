/** Clients and applications that take their time, many of them: what is held for them is bounded, and others hear nothing of it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import { type Peer, until } from '../test-peer.ts';
import { bench, get, ok } from './test-bench.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A client that never reads. */
async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {}); // It may be cut off.
  sockets.push(socket);
  await once(socket, 'connect');
  return socket;
}

const many = 30;
const large = 4 << 20;
const block = Buffer.alloc(64 << 10, 'x');

/** Bytes outside the heap, in all buffers of this process; collected first. */
function held(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().arrayBuffers;
}

const someAnswer = ok('x'.repeat(8 << 10));

let answered = 0;

/** An application: `/some` has 8 KiB, `/large` has 4 MiB, sent as fast as they are taken; `/drip` begins a head and stops; `/silent` says nothing. */
function answer(peer: Peer): void {
  const asked = peer.text.split('\r\n\r\n');
  answered += asked.length - 1;
  peer.text = asked.pop()!;
  for (const head of asked) {
    const path = head.split(' ')[1]!;
    if (path === '/large') sendLarge(peer.socket);
    else if (path === '/drip') peer.write('HTTP/1.1 200 OK\r\nX-Sl');
    else if (path === '/some') peer.write(someAnswer);
    else if (path !== '/silent') peer.write(ok(path));
  }
}

function sendLarge(socket: Socket): void {
  let left = large;
  const more = (): void => {
    while (left > 0) {
      left -= block.length;
      if (!socket.write(block)) return;
    }
    socket.removeListener('drain', more);
  };
  socket.on('drain', more);
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${large}\r\n\r\n`);
  more();
}

const started = (path: string) => get(path).slice(0, -2);
/** Larger than what two kernel buffers of loopback hold. */
const flood = get('/silent').repeat(200_000);

test.each([
  ['stop inside their head', `${started('/')}X-Long: ${'y'.repeat(60 << 10)}`],
  ['stop inside a body', 'POST /silent HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx'],
  ['never read what they asked for', get('/large').repeat(8)],
  ['never read the small answers to all that they ask', get('/some').repeat(20_000)],
  ['never stop asking', flood],
  ['ask an application that stops inside its head', get('/drip')],
  ['ask an application that never answers', get('/silent')],
])('clients that %s: at most 384 KiB for each, and others are answered', async (_, text) => {
  const { port, client } = await bench({ onServer: (peer) => peer.socket.on('data', () => answer(peer)) });
  // Shared by all clients, so that it does not count as theirs.
  const bytes = Buffer.from(text);
  const before = held();
  const slow = await Promise.all(Array.from({ length: many }, () => dial(port)));
  for (const one of slow) one.write(bytes);
  // They get as far as they can while others ask.
  let last = -1;
  let still = 0;
  for (let i = 0; still < 10 && i < 400; i++) {
    client.write(get(`/good${i}`));
    await client.reads(`/good${i}`);
    client.text = '';
    // One answer is that to the good one.
    const moved = slow.reduce((sum, one) => sum + one.bytesWritten - one.writableLength, answered - i);
    still = moved === last ? still + 1 : 0;
    last = moved;
  }
  // What is collected is given back by another thread, a moment later.
  await expect.poll(() => (held() - before) / many, { timeout: 5_000 }).toBeLessThan(384 << 10);
  expect(slow.filter((one) => one.destroyed)).toEqual([]);
  client.write(get('/last'));
  await client.reads('/last');
});

test.each([
  ['goes on asking', false],
  ['has said its last', true],
])('a client that reads late, and %s, gets an answer to all it asked', async (_, ended) => {
  const { port } = await bench({ onServer: (peer) => peer.socket.on('data', () => answer(peer)) });
  const asked = 4000;
  answered = 0;
  const client = await dial(port);
  client.write(get('/some').repeat(asked));
  if (ended) client.end();
  let last = -1;
  await expect
    .poll(
      () => {
        const still = answered > 0 && answered === last;
        last = answered;
        return still;
      },
      { interval: 200, timeout: 10_000 },
    )
    .toBe(true);
  // What the system, and what the proxy holds for one client.
  expect(answered).toBeLessThan(asked);
  let read = 0;
  client.on('data', (bytes: Buffer) => {
    read += bytes.length;
  });
  const closeLine = ended ? 'Connection: close\r\n'.length : 0;
  // 33 MB, while other tests run.
  await expect.poll(() => read, { timeout: 10_000 }).toBe(asked * someAnswer.length + closeLine);
  if (ended) await expect.poll(() => client.readableEnded).toBe(true);
  else {
    client.write(get('/some'));
    await expect.poll(() => read).toBe((asked + 1) * someAnswer.length);
  }
});

test('a head, a body and a response that come byte by byte pass whole', async () => {
  const { client, servers } = await bench();
  const request = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n`;
  for (const byte of request) {
    client.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => servers[0]?.text === request, 'the request');
  for (const byte of ok('hello')) {
    servers[0]!.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => client.text === ok('hello'), 'the response');
});
