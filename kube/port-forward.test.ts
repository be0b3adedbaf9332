import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { portForward } from './port-forward.ts';
import { Transport } from './transport.ts';

const close: (() => void)[] = [];
afterEach(() => {
  for (const one of close.splice(0)) one();
});

/** An API server whose messages to a new connection are these. */
async function serve(messages: Buffer[], status?: number): Promise<Transport> {
  const server = createServer((_request, response) => response.writeHead(404).end());
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
  server.on('upgrade', (request, socket, head) => {
    if (status) {
      const body = JSON.stringify({
        kind: 'Status',
        code: status,
        message: 'cannot create resource "pods/portforward"',
      });
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
      return;
    }
    // Corked: answer and first messages leave in one packet, as a real API server's may.
    socket.cork();
    sockets.handleUpgrade(request, socket, head, (connection) => {
      for (const message of messages) connection.send(message);
      process.nextTick(() => socket.uncork());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const transport = new Transport({ server: `http://127.0.0.1:${port}`, headers: async () => ({}), timeoutMs: 5_000 });
  close.push(() => {
    for (const client of sockets.clients) client.terminate();
    server.close();
    transport.close();
  });
  return transport;
}

const announcement = (channel: number) => Buffer.from([channel, 80, 0]);
const data = (text: string) => Buffer.concat([Buffer.from([0]), Buffer.from(text)]);

describe('a port-forward', () => {
  it('loses nothing that arrives together with the handshake', async () => {
    const transport = await serve([announcement(0), announcement(1), data('first '), data('second')]);
    const stream = await portForward(transport, 'shop', 'web', 80);
    let read = '';
    for await (const chunk of stream) {
      read += chunk;
      if (read === 'first second') break;
    }
    expect(read).toBe('first second');
  });

  it("fails with the pod's error", async () => {
    const transport = await serve([
      announcement(0),
      announcement(1),
      Buffer.concat([Buffer.from([1]), Buffer.from('connection refused')]),
    ]);
    const stream = await portForward(transport, 'shop', 'web', 80);
    await expect(stream.toArray()).rejects.toThrow('connection refused');
  });

  it('tells what a refusal says: the right that is missing', async () => {
    await expect(portForward(await serve([], 403), 'shop', 'web', 80)).rejects.toMatchObject({
      status: 403,
      message: 'port-forward to shop/web was refused: cannot create resource "pods/portforward"',
    });
  });
});
