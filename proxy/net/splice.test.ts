import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { splice } from './splice.ts';

const opened: { destroy(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.destroy();
});

/** Two ends of one TCP connection. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  opened.push(near, far);
  return [near, far];
}

async function spliced() {
  const [client, a] = await pair();
  const [b, server] = await pair();
  const counters = { sentBytes: 0, receivedBytes: 0 };
  const done = new Promise<Error | undefined>((resolve) => splice(a, b, counters, resolve));
  return { client, server, counters, done };
}

test('bytes and half-closes pass both ways and are counted', async () => {
  const { client, server, counters, done } = await spliced();
  const sent = randomBytes(8 << 20);
  server.pipe(server);
  client.end(sent);
  const received: Buffer[] = [];
  for await (const chunk of client) received.push(chunk as Buffer);
  expect(Buffer.concat(received).equals(sent)).toBe(true);
  expect(await done).toBeUndefined();
  expect(counters).toEqual({ sentBytes: sent.length, receivedBytes: sent.length });
});

test('a reset of one side reaches the other as one, never as an orderly end', async () => {
  const { client, server, done } = await spliced();
  client.on('error', () => {});
  client.write('x');
  const arrived = once(server, 'data');
  server.resume(); // it was paused on arrival
  await arrived;
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => server.once('error', resolve));
  client.resetAndDestroy();
  expect((await failed).code).toBe('ECONNRESET');
  await done;
});
