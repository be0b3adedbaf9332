/**
 * A thread that lives in the node's network and opens sockets there for the supervisor, which itself stays outside: in a
 * user namespace a thread that has left the machine's network is not let back in, so it cannot step aside as the daemon
 * does. Descriptors belong to the whole process, so their numbers are all that has to be handed over.
 */
import { createServer, type Server, Socket } from 'node:net';
import { Worker } from 'node:worker_threads';

export interface Order {
  id: number;
  kind: 'connect' | 'listen';
  address: string;
  port: number;
}

export interface Result {
  id: number;
  fd?: number;
  /** The system's code, e.g. EADDRINUSE. */
  code?: string;
  message?: string;
}

export class NodeThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<number>>();
  #next = 0;

  /** `namespace` is a file like /proc/1/ns/net; `program` the bundle of node-thread-program.ts. A failure of the thread is thrown. */
  constructor(namespace: string, program: string | URL) {
    this.#worker = new Worker(program, { workerData: namespace });
    this.#worker.unref();
    this.#worker.on('message', ({ id, fd, code, message }: Result) => {
      const asked = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (fd === undefined) asked?.reject(Object.assign(new Error(message), { code }));
      else asked?.resolve(fd);
    });
    this.#worker.on('error', (error) => {
      throw error;
    });
  }

  #open(kind: Order['kind'], address: string, port: number): Promise<number> {
    const id = ++this.#next;
    const asked = Promise.withResolvers<number>();
    this.#waiting.set(id, asked);
    this.#worker.postMessage({ id, kind, address, port } satisfies Order);
    return asked.promise;
  }

  /** A connection, perhaps still being made. */
  async connect(address: string, port: number): Promise<Socket> {
    const fd = await this.#open('connect', address, port);
    return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
  }

  async listen(address: string, port: number, accept: (socket: Socket) => void): Promise<Server> {
    const fd = await this.#open('listen', address, port);
    const server = createServer({ allowHalfOpen: true }, accept);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd }, () => resolve(server));
    });
  }
}
