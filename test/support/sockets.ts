/** Sockets of the test's own process inside a pod's network: a test can be a pod's client, and its application, itself. */
import type { Server, Socket } from 'node:net';
import { connectIn, listenIn } from '../../local/network/socket.ts';
import { type PodObject, type TestMesh, until } from './mesh.ts';

/** A peer whose bytes the test reads and writes itself. */
export class Peer {
  readonly socket: Socket;
  text = '';
  ended = false;
  closed = false;
  /** Code of the error that ended it. */
  error: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  write(text: string): void {
    this.socket.write(Buffer.from(text, 'latin1'));
  }

  /** Waits for a text; gives all that has come. */
  async reads(part: string): Promise<string> {
    await until(
      () => `${JSON.stringify(part)}, but ${JSON.stringify(this.text.slice(0, 2000))}`,
      () => this.text.includes(part),
      8,
    );
    return this.text;
  }

  /** Waits until the other side has ended or reset. */
  async over(): Promise<void> {
    await until('the end of the connection', () => this.ended || this.closed, 8);
  }
}

const namespaceOf = (mesh: TestMesh, pod: PodObject, container?: string) => `/proc/${mesh.pid(pod, container)}/ns/net`;

/** Dials an IPv4 address from inside a pod; half-open allowed. */
export function dialFrom(mesh: TestMesh, pod: PodObject, address: string, port: number): Peer {
  return new Peer(connectIn(namespaceOf(mesh, pod), address, port));
}

/** Listens as an application of a pod would. */
export function serveIn(
  mesh: TestMesh,
  pod: PodObject,
  port: number,
  accept: (socket: Socket) => void,
  container?: string,
): Promise<Server> {
  return listenIn(namespaceOf(mesh, pod, container), '0.0.0.0', port, accept);
}
