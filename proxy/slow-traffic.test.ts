/** Clients that never read, through both proxies: what is held for each of them is bounded. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import { get, ok } from './http/test-bench.ts';
import { ips, mesh, meshed, publish, startApps, startMesh, stopMesh } from './test-mesh.ts';

const sockets: Socket[] = [];
const servers: Server[] = [];
beforeAll(() => startMesh());
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});
afterAll(stopMesh);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes outside the heap, in all buffers of this process. */
function held(): number {
  collect();
  return process.memoryUsage().arrayBuffers;
}

test.each([
  ['one large answer', 4 << 20, 1],
  ['many small answers', 8 << 10, 20_000],
])('clients that read nothing of %s: at most 512 KiB for each', async (_, bytes, count) => {
  const many = 20;
  const response = Buffer.from(ok('x'.repeat(bytes)));
  let answered = 0;
  const apps = await startApps(() =>
    createServer((socket) => {
      let text = '';
      sockets.push(socket.on('error', () => {}));
      socket.on('data', (chunk) => {
        const heads = (text + chunk).split('\r\n\r\n');
        text = heads.pop()!;
        answered += heads.length;
        for (const _head of heads) socket.write(response);
      });
    }),
  );
  servers.push(...apps.servers);
  mesh.destination = formatAddress(`10.0.0.${count % 255}`, 80);
  publish(mesh.destination, [meshed(ips[0]!, apps.port)]);
  const asks = Buffer.from(get('/').repeat(count));
  const before = held();
  const clients: Socket[] = [];
  for (let i = 0; i < many; i++) {
    const client = connect(mesh.client.ports.outbound, '127.0.0.1').on('error', () => {});
    sockets.push(client);
    clients.push(client);
    await once(client, 'connect');
    client.write(asks);
  }
  let last = -1;
  await expect
    .poll(
      () => {
        const still = answered >= many && answered === last;
        last = answered;
        return still;
      },
      { interval: 500, timeout: 15_000 },
    )
    .toBe(true);
  // Applications share their answer, and clients what they ask.
  await expect.poll(() => (held() - before) / many, { timeout: 5_000 }).toBeLessThan(512 << 10);
  expect(clients.filter((one) => one.destroyed)).toEqual([]);
});
