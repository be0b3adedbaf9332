/** Who closes first, and keeps a port in TIME_WAIT for a minute: never the side that dials, where the other has said that it closes. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import type { Peer } from '../test-peer.ts';
import { bench, echoPaths, get, ok } from './test-bench.ts';

/** Connections to `port` in TIME_WAIT, at who accepted them and at who dialled (/proc/net/tcp). */
function timeWaits(port: number): { accepted: number; dialled: number } {
  const at = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1);
  const waiting = lines.map((line) => line.trim().split(/\s+/)).filter((fields) => fields[3] === '06');
  return {
    accepted: waiting.filter((fields) => fields[1]!.endsWith(at)).length,
    dialled: waiting.filter((fields) => fields[2]!.endsWith(at)).length,
  };
}

const requests = 200;

/** In a thread of its own, so that it reads and closes while the proxy goes on. */
const impatient = `
import { connect } from 'node:net';
import { workerData } from 'node:worker_threads';
for (let i = 0; i < ${requests}; i++) {
  const socket = connect(workerData.port, '127.0.0.1').setNoDelay();
  socket.write(workerData.request);
  let text = '';
  await new Promise((resolve, reject) => {
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.endsWith(workerData.ending)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => (text.endsWith(workerData.ending) ? resolve() : reject(new Error(text))));
  });
}`;

async function ask(port: number, request: string, ending: string): Promise<void> {
  const url = new URL(`data:text/javascript,${encodeURIComponent(impatient)}`);
  const [code] = await once(new Worker(url, { workerData: { port, request, ending } }), 'exit');
  expect(code).toBe(0);
}

/** Some ports may have been taken again meanwhile, and there is but one entry for each. */
function expectAccepted({ accepted, dialled }: ReturnType<typeof timeWaits>): void {
  expect(dialled).toBe(0);
  expect(accepted).toBeGreaterThan(requests * 0.9);
}

const page = 'x'.repeat(32 << 10);

test.each([
  ['Connection: close', get('/a', 'Connection: close\r\n'), '/a', echoPaths],
  ['HTTP/1.0', 'GET /a HTTP/1.0\r\nHost: a\r\n\r\n', '/a', echoPaths],
  ['a body behind it', `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi`, page, large],
  [
    "an error of the proxy's",
    get('/', 'Connection: close\r\n'),
    '[mesh response-lost]\n',
    (peer: Peer) => peer.socket.destroy(),
  ],
])('a client that closes on its answer dials from the same ports again: %s', async (_, request, ending, onServer) => {
  const { port } = await bench({ onServer });
  await ask(port, request, ending);
  expectAccepted(timeWaits(port));
});

function large(peer: Peer): void {
  peer.socket.on('data', () => {
    if (!peer.text.endsWith('hi')) return;
    peer.text = '';
    peer.write(ok(page));
  });
}

test('a client whose last answer is larger than what the system holds, and that reads late, gets all of it', async () => {
  const body = 'x'.repeat(12 << 20);
  const { client } = await bench({ onServer: (peer) => peer.socket.once('data', () => peer.write(ok(body))) });
  client.write(get('/', 'Connection: close\r\n'));
  client.socket.pause();
  await new Promise((resolve) => setTimeout(resolve, 300));
  client.socket.resume();
  await client.over();
  expect([client.ended, client.error]).toEqual([true, undefined]);
  expect(client.text.length).toBe(ok(body).length + 'Connection: close\r\n'.length);
});

test('a server that says that it closes is let close first', async () => {
  let application = 0;
  const { port } = await bench({
    onServer: (peer) => {
      application = peer.socket.localPort!;
      peer.socket.on('data', () => {
        peer.write(ok('bye').replace('\r\n', '\r\nConnection: close\r\n'));
        setTimeout(() => peer.socket.end(), 2);
      });
    },
  });
  await ask(port, get('/', 'Connection: close\r\n'), 'bye');
  await expect.poll(() => timeWaits(application).accepted).toBeGreaterThan(requests * 0.9);
  expectAccepted(timeWaits(application));
});

const switching = 'Connection: close, upgrade\r\nUpgrade: x\r\n';

test.each([
  ['Connection: close', get('/', 'Connection: close\r\n'), get('/', 'Connection: close\r\n')],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\nHost: a\r\n\r\n', 'GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n'],
  ['keep-alive', get('/'), get('/')],
  ['an offer to switch protocols', get('/', switching), get('/', switching)],
])('a server that has one client hears which request is the last, another does not: %s', async (_, request, alone) => {
  for (const serverAlone of [true, false]) {
    const { client, servers } = await bench({ serverAlone, onServer: echoPaths });
    client.write(request);
    await client.reads('/');
    expect(servers[0]!.text).toBe(serverAlone ? alone : request.replace('Connection: close\r\n', ''));
  }
});

test('a server that says so and does not is left after a while', async () => {
  const { client, servers } = await bench();
  client.write(get('/'));
  await expect.poll(() => servers[0]?.text).toBe(get('/'));
  servers[0]!.write(ok('bye').replace('\r\n', '\r\nConnection: close\r\n'));
  await client.reads('bye');
  expect(servers[0]!.socket.readableEnded).toBe(false);
  await expect.poll(() => servers[0]!.socket.readableEnded, { timeout: 8_000 }).toBe(true);
});
