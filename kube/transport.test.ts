import type http from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Transport } from './transport.ts';

test('an idle connection is closed before an API server closes it', async () => {
  const server = createServer((_request, response) => response.end('{}')).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const transport = new Transport({ server: `http://127.0.0.1:${port}`, headers: async () => ({}), timeoutMs: 5_000 });
  onTestFinished(() => {
    transport.close();
    server.close();
  });
  // API servers of Kubernetes give no hint, so neither does this one.
  server.keepAliveTimeout = 0;
  await transport.json({ method: 'GET', path: '/version' });
  const agent = transport.agent as http.Agent;
  const idle = await new Promise<{ timeout?: number }>((resolve) => {
    const look = () => {
      const [socket] = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
      if (socket) resolve(socket);
      else setImmediate(look);
    };
    look();
  });
  expect(idle.timeout).toBeGreaterThan(0);
  expect(idle.timeout).toBeLessThan(90_000);
});
