import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { splice } from './splice.ts';

test('bytes that have passed through leave no memory behind', async () => {
  const size = 256 << 20;
  const accepted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dial = async (): Promise<[Socket, Socket]> => {
    const before = accepted.length;
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await Promise.all([once(socket, 'connect'), once(server, 'connection')]);
    return [socket, accepted[before]!];
  };
  const [sender, from] = await dial();
  const [to, receiver] = await dial();
  splice(from, to, { sentBytes: 0, receivedBytes: 0 }, () => {});
  const rest = process.memoryUsage().arrayBuffers;
  let [received, peak] = [0, 0];
  receiver.on('data', (chunk: Buffer) => {
    received += chunk.length;
    peak = Math.max(peak, process.memoryUsage().arrayBuffers - rest);
  });
  const block = Buffer.alloc(1 << 20);
  for (let sent = 0; sent < size; sent += block.length) if (!sender.write(block)) await once(sender, 'drain');
  sender.end();
  await once(receiver, 'end');
  receiver.end();
  await once(sender.resume(), 'end');
  server.close();
  expect(received).toBe(size);
  expect(peak).toBeLessThan(32 << 20);
});
