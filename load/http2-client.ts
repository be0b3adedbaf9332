/** HTTP/2 by prior knowledge: several requests at once on one connection. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { type Client, causeOf, type Done, troubleOf } from './client.ts';
import { type LoadOptions, streamsPerConnection } from './options.ts';

export class Http2Client implements Client {
  readonly atOnce = streamsPerConnection;
  readonly #address: string;
  readonly #headers: Record<string, string>;
  #session: ClientHttp2Session | undefined;

  constructor({ host, port, path, authority = `${host}:${port}` }: LoadOptions) {
    this.#address = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
    this.#headers = { ':path': path, ':authority': authority, 'user-agent': 'mesh-bench', accept: '*/*' };
  }

  request(done: Done): void {
    let stream: ClientHttp2Stream;
    try {
      this.#session ??= this.#connect();
      stream = this.#session.request(this.#headers, { endStream: true });
    } catch (error) {
      // The session ended just now; its place is taken by a new one with the next request.
      this.#session = undefined;
      setImmediate(done, causeOf(error as Error));
      return;
    }
    let trouble: string | undefined = 'closed before the response';
    stream.on('response', (headers) => {
      trouble = troubleOf(Number(headers[':status']));
    });
    stream.on('trailers', (trailers) => {
      const status = trailers['grpc-status'];
      if (status !== undefined && status !== '0') trouble = `grpc-status ${status}`;
    });
    stream.on('error', (error) => {
      trouble = causeOf(error);
    });
    stream.on('close', () => done(trouble));
    stream.resume();
  }

  close(): void {
    this.#session?.destroy();
  }

  #connect(): ClientHttp2Session {
    const session = connect(this.#address);
    const forget = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    session.on('error', forget);
    session.on('goaway', forget);
    session.on('close', forget);
    return session;
  }
}
