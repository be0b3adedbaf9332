import net from 'node:net';
import tls from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { lateHandshakes } from './late-handshake.ts';
import { listen, makeAuthority, proxyCertificate, until } from './test-parts.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function start() {
  const authority = await makeAuthority();
  const errors: string[] = [];
  const server = tls.createServer(proxyCertificate(authority, 'web'), (socket) => socket.end('hello'));
  server.on('tlsClientError', (error) => errors.push(error.message));
  const front = lateHandshakes(server);
  ends.push(() => front.close());
  return { front, server, errors, port: await listen(front), ca: authority.trustBundle };
}

const connections = (server: net.Server) =>
  new Promise<number>((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );

test('TLS begins with what a client said before, however it came', async () => {
  const { port, ca, front } = await start();
  // A byte at a time at first: the handshake must not need the whole greeting at once.
  const relay = net.createServer((client) => {
    const onward = net.connect(port, '127.0.0.1').setNoDelay(true);
    client.once('data', (greeting: Buffer) => {
      onward.write(greeting.subarray(0, 1), () =>
        setImmediate(() => {
          onward.write(greeting.subarray(1));
          client.pipe(onward);
        }),
      );
    });
    onward.pipe(client);
  });
  ends.push(() => relay.close());
  for (const to of [port, await listen(relay)]) {
    const client = tls.connect({ port: to, host: '127.0.0.1', ca, checkServerIdentity: () => undefined });
    let text = '';
    client.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    await new Promise((resolve, reject) => client.on('close', resolve).on('error', reject));
    expect(text).toBe('hello');
  }
  await expect.poll(() => connections(front)).toBe(0);
});

test('a client that says nothing and leaves is no failed handshake', async () => {
  const { port, errors, front, server } = await start();
  let handshakes = 0;
  server.on('connection', () => handshakes++);
  const client = net.connect(port, '127.0.0.1');
  await until(() => client.readyState === 'open', 'the connection');
  client.end();
  await new Promise((resolve) => client.on('close', resolve));
  await expect.poll(() => connections(front)).toBe(0);
  expect(errors).toEqual([]);
  expect(handshakes).toBe(0);
});
