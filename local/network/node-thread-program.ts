/** What the thread of node-thread.ts runs. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Order, Result } from './node-thread.ts';
import { connectingSocket, enterNetwork, listeningSocket } from './socket.ts';

enterNetwork(workerData as string);
parentPort!.on('message', ({ id, kind, address, port }: Order) => {
  try {
    const fd = kind === 'connect' ? connectingSocket(address, port) : listeningSocket(address, port);
    parentPort!.postMessage({ id, fd } satisfies Result);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    parentPort!.postMessage({ id, code, message } satisfies Result);
  }
});
