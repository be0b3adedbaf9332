/** HTTP/1.1 with keep-alive: one request at a time on one connection. */
import { connect, type Socket } from 'node:net';
import { type Client, causeOf, type Done, troubleOf } from './client.ts';
import type { LoadOptions } from './options.ts';
import { ResponseReader } from './response-reader.ts';

export class Http1Client implements Client {
  readonly atOnce = 1;
  readonly #options: LoadOptions;
  readonly #text: string;
  #socket: Socket | undefined;
  #reader = new ResponseReader();
  #done: Done | undefined;

  constructor(options: LoadOptions) {
    this.#options = options;
    const { host, port, path, authority = `${host}:${port}` } = options;
    this.#text = `GET ${path} HTTP/1.1\r\nhost: ${authority}\r\nuser-agent: mesh-bench\r\naccept: */*\r\n\r\n`;
  }

  request(done: Done): void {
    this.#done = done;
    this.#socket ??= this.#connect();
    this.#socket.write(this.#text, 'latin1');
  }

  close(): void {
    this.#socket?.destroy();
  }

  #connect(): Socket {
    const { host, port } = this.#options;
    const reader = new ResponseReader();
    this.#reader = reader;
    const socket = connect({ host, port, noDelay: true });
    let trouble = 'closed before the response';
    socket.on('data', (chunk: Buffer) => {
      try {
        if (reader.read(chunk)) this.#onResponse(socket);
      } catch (error) {
        trouble = (error as Error).message;
        socket.destroy();
      }
    });
    socket.on('error', (error) => {
      trouble = causeOf(error);
    });
    socket.on('close', (failed) => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#end(!failed && reader.endsWithConnection ? troubleOf(reader.status) : trouble);
    });
    return socket;
  }

  #onResponse(socket: Socket): void {
    if (this.#reader.closes) {
      this.#socket = undefined;
      socket.destroy();
    }
    this.#end(troubleOf(this.#reader.status));
  }

  #end(trouble: string | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(trouble);
  }
}
