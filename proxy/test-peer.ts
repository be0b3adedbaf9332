/** The other end of a connection, for tests: they read and write its bytes themselves. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Asks until a condition holds. @throws Error naming what did not come */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 8_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within 8 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export class Peer<S extends Duplex = Socket> {
  readonly socket: S;
  text = '';
  ended = false;
  closed = false;
  /** Code of the error that ended it. */
  error: string | undefined;

  constructor(socket: S) {
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
    const found = () => this.text.includes(part);
    await until(found, JSON.stringify(part)).catch((error: Error) => {
      throw new Error(`${error.message} in ${JSON.stringify(this.text.slice(0, 2000))}`);
    });
    return this.text;
  }

  /** Waits until the other side has ended or reset. */
  async over(): Promise<void> {
    await until(() => this.ended || this.closed, 'the end of the connection');
  }
}
