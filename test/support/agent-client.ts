/** Sockets in a pod of a cluster, as streams of the test: an agent in the pod opens them and carries their bytes. */
import { join } from 'node:path';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { build } from 'esbuild';
import { FrameReader, frame, type Kind, windowBytes } from './agent-frames.ts';
import type { Application, PodSocket } from './mesh.ts';

/** The agent's program, as text for `node -e`. */
export async function agentSource(): Promise<string> {
  const entryPoints = [join(import.meta.dirname, 'agent.ts')];
  const built = await build({ entryPoints, bundle: true, write: false, format: 'esm', platform: 'node', minify: true });
  return built.outputFiles[0]!.text;
}

class RemoteSocket extends Duplex implements PodSocket {
  remoteAddress: string | undefined;
  readonly #send: (kind: Kind, body?: Buffer | string) => void;
  #credit = windowBytes;
  #unread = 0;
  #blocked: (() => void) | undefined;
  #over = false;

  constructor(send: (kind: Kind, body?: Buffer | string) => void, remoteAddress?: string) {
    super({ allowHalfOpen: true });
    this.#send = send;
    this.remoteAddress = remoteAddress;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#send('data', chunk);
    this.#credit -= chunk.length;
    if (this.#credit > 0) done();
    else this.#blocked = done;
  }

  override _final(done: () => void): void {
    this.#send('end');
    done();
  }

  override _read(): void {
    if (this.#unread === 0) return;
    this.#send('credit', String(this.#unread));
    this.#unread = 0;
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Where both directions have ended, the agent may still have bytes to pass on; it closes by itself.
    if (!this.#over && !(this.readableEnded && this.writableFinished)) this.#send('closed');
    this.#over = true;
    done(error);
  }

  resetAndDestroy(): this {
    if (!this.#over) this.#send('reset');
    this.#over = true;
    return this.destroy();
  }

  /** What the agent says of it. */
  heard(kind: Kind, body: Buffer): void {
    if (kind === 'data') {
      this.#unread += body.length;
      if (this.push(Buffer.from(body))) this._read();
    } else if (kind === 'credit') {
      this.#credit += Number(body);
      if (this.#credit > 0) this.#unblock();
    } else if (kind === 'end') this.push(null);
    else if (kind === 'closed') this.#closed(body.toString());
  }

  #closed(code: string): void {
    this.#over = true;
    this.#unblock();
    // Without an error its end was told before; what is not read yet can be read on.
    if (code) this.destroy(Object.assign(new Error(code), { code }));
  }

  #unblock(): void {
    const done = this.#blocked;
    this.#blocked = undefined;
    done?.();
  }
}

/** The agent's process. */
export interface AgentStreams {
  stdin: Writable;
  stdout: Readable;
  ended: Promise<unknown>;
}

export class AgentClient {
  readonly #running: AgentStreams;
  readonly #sockets = new Map<number, RemoteSocket>();
  readonly #listeners = new Map<number, { accept(socket: PodSocket): void; settle(kind: Kind, body: string): void }>();
  #next = 0;

  constructor(running: AgentStreams) {
    this.#running = running;
    const reader = new FrameReader((kind, id, body) => this.#heard(kind, id, body));
    running.stdout.on('data', (chunk: Buffer) => reader.push(chunk));
    const lost = (error?: Error) => {
      for (const socket of this.#sockets.values()) socket.destroy(error ?? new Error('the agent in the pod ended'));
    };
    running.ended.then(() => lost(), lost);
  }

  close(): void {
    this.#running.stdin.end();
  }

  dial(address: string, port: number): PodSocket {
    const id = this.#next++;
    this.#tell('dial', id, `${address} ${port}`);
    return this.#adopt(id);
  }

  /** @throws Error with the code of the agent's system, where it cannot listen */
  serve(port: number, accept: (socket: PodSocket) => void): Promise<Application> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const close = () => this.#tell('closed', id);
      const settle = (kind: Kind, body: string) =>
        kind === 'listen' ? resolve({ port: Number(body), close }) : reject(new Error(`listening on ${port}: ${body}`));
      this.#listeners.set(id, { accept, settle });
      this.#tell('listen', id, String(port));
    });
  }

  #tell(kind: Kind, id: number, body?: Buffer | string): void {
    this.#running.stdin.write(frame(kind, id, body));
  }

  #adopt(id: number, remoteAddress?: string): RemoteSocket {
    const socket = new RemoteSocket((kind, body) => this.#tell(kind, id, body), remoteAddress);
    this.#sockets.set(id, socket);
    socket.on('close', () => this.#sockets.delete(id));
    return socket;
  }

  #heard(kind: Kind, id: number, body: Buffer): void {
    const listener = this.#listeners.get(id);
    if (kind === 'accepted') {
      const [accepted, address] = body.toString().split(' ');
      listener!.accept(this.#adopt(Number(accepted), address));
    } else if (listener) listener.settle(kind, body.toString());
    else this.#sockets.get(id)?.heard(kind, body);
  }
}
