/** For tests: both ends of a TCP connection on loopback, gone when the test is over. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type ServerOpts, type Socket } from 'node:net';
import { afterEach } from 'vitest';

const opened: Socket[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.destroy();
});

/** `socket` has dialled, `peer` was accepted with the options. */
export async function connectionPair(options: ServerOpts = {}): Promise<{ socket: Socket; peer: Socket }> {
  const server = createServer(options).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [peer] = (await once(server, 'connection')) as [Socket];
  if (socket.connecting) await once(socket, 'connect');
  server.close();
  opened.push(socket, peer);
  return { socket, peer };
}
