/**
 * Port-forward in its three forms: channels on a WebSocket (v4.channel.k8s.io: one port, one connection), SPDY/3.1
 * inside a WebSocket (kubectl 1.31 and later), and SPDY/3.1 alone (before).
 */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { PodRuntime } from '../objects.ts';
import type { ApiRequest } from './request.ts';
import { SpdyConnection, type SpdyStream } from './spdy.ts';
import { badRequest } from './status-error.ts';

export const spdyTunnel = 'SPDY/3.1+portforward.k8s.io';
const spdyProtocol = 'portforward.k8s.io';
const dataChannel = 0;
const errorChannel = 1;

/** The port a channel form asks for. @throws StatusError 400 */
export function wantedPort(query: URLSearchParams): number {
  const port = Number(query.get('ports') ?? query.get('port'));
  if (!isPort(port)) throw badRequest('port-forward needs the query parameter ports');
  return port;
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65535;

export const framed = (channel: number, data: Uint8Array): Buffer => Buffer.concat([Buffer.from([channel]), data]);

/** kubectl and the CLI print this; the words are the kubelet's. */
function failureText(request: ApiRequest, port: number, error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  const why = code === 'ECONNREFUSED' ? 'connection refused' : error.message;
  return `error forwarding port ${port} to pod ${request.namespace}/${request.name}: ${why}`;
}

/** One connection for one WebSocket. */
export async function forwardChannels(
  runtime: PodRuntime,
  request: ApiRequest,
  port: number,
  socket: WebSocket,
): Promise<void> {
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  // The first message of each channel carries the port.
  socket.send(framed(dataChannel, number));
  socket.send(framed(errorChannel, number));
  const early: Buffer[] = [];
  const keep = (data: Buffer) => early.push(data);
  socket.on('message', keep);
  const fail = (error: Error): void => {
    socket.send(framed(errorChannel, Buffer.from(failureText(request, port, error))), () => socket.close(1000));
  };
  let connection: Duplex;
  try {
    connection = await runtime.connect(request.namespace, request.name, port);
  } catch (error) {
    return fail(error as Error);
  }
  const write = (data: Buffer) => {
    if (data[0] !== dataChannel) return;
    if (!connection.write(data.subarray(1))) {
      socket.pause();
      connection.once('drain', () => socket.resume());
    }
  };
  socket.off('message', keep).on('message', write);
  for (const data of early) write(data);
  connection.on('data', (chunk: Buffer) => {
    connection.pause();
    socket.send(framed(dataChannel, chunk), () => connection.resume());
  });
  connection.on('end', () => socket.close(1000));
  connection.on('error', fail);
  connection.on('close', () => socket.close(1000));
  socket.on('close', () => connection.destroy());
  socket.on('error', () => connection.destroy());
}

/** What SPDY runs over, for its way back. */
interface Carrier {
  send(frame: Buffer, sent?: () => void): void;
  pause(): void;
  resume(): void;
  close(): void;
}

/** SPDY inside WebSocket messages, cut anywhere. */
export function forwardTunnel(runtime: PodRuntime, request: ApiRequest, socket: WebSocket): void {
  const tunnel = new Forwards(runtime, request, {
    send: (frame, sent) => socket.send(frame, () => sent?.()),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: () => socket.close(1000),
  });
  socket.on('message', (data: Buffer) => tunnel.receive(data));
  socket.on('close', () => tunnel.stop());
  socket.on('error', () => tunnel.stop());
}

/** SPDY on the connection itself, after its upgrade. */
export function forwardSpdy(runtime: PodRuntime, request: ApiRequest, socket: Duplex, head: Buffer): void {
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${spdyProtocol}\r\n\r\n`,
  );
  const tunnel = new Forwards(runtime, request, {
    send: (frame, sent) => void socket.write(frame, () => sent?.()),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: () => socket.end(),
  });
  if (head.length > 0) tunnel.receive(head);
  socket.on('data', (data: Buffer) => tunnel.receive(data));
  socket.on('close', () => tunnel.stop());
}

/** The forwards of one SPDY connection: each is a pair of streams, for errors and for data, of one request id. */
class Forwards {
  readonly #runtime: PodRuntime;
  readonly #request: ApiRequest;
  readonly #carrier: Carrier;
  readonly #spdy: SpdyConnection;
  readonly #errors = new Map<string, SpdyStream>();
  readonly #connections = new Set<Duplex>();
  #full = 0;

  constructor(runtime: PodRuntime, request: ApiRequest, carrier: Carrier) {
    this.#runtime = runtime;
    this.#request = request;
    this.#carrier = carrier;
    this.#spdy = new SpdyConnection(
      (frame, sent) => carrier.send(frame, sent),
      (stream) => this.#accept(stream),
    );
  }

  receive(data: Buffer): void {
    try {
      this.#spdy.receive(data);
    } catch {
      // What cannot be read leaves no way to go on: the client sees its connection end.
      this.#spdy.goAway();
      this.#carrier.close();
      this.stop();
    }
  }

  stop(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #accept(stream: SpdyStream): void {
    const id = stream.headers.get('requestid') ?? stream.headers.get('port') ?? '';
    const kind = stream.headers.get('streamtype');
    if (kind === 'error') this.#errors.set(id, stream);
    else if (kind === 'data') {
      const errors = this.#errors.get(id);
      this.#errors.delete(id);
      if (errors) void this.#forward(stream, errors);
      else this.#spdy.reset(stream);
    } else this.#spdy.reset(stream);
  }

  async #forward(stream: SpdyStream, errors: SpdyStream): Promise<void> {
    const port = Number(stream.headers.get('port'));
    const early: (Buffer | undefined)[] = [];
    stream.onData = (data) => early.push(data);
    // Both streams end, whatever happens: the client waits for either.
    let over = false;
    const finish = (error?: Error): void => {
      if (over) return;
      over = true;
      if (error) this.#spdy.write(errors, Buffer.from(failureText(this.#request, port, error)));
      this.#spdy.end(errors);
      this.#spdy.end(stream);
    };
    if (!isPort(port)) return finish(new Error('this is no port number'));
    let connection: Duplex;
    try {
      connection = await this.#runtime.connect(this.#request.namespace, this.#request.name, port);
    } catch (error) {
      return finish(error as Error);
    }
    this.#connections.add(connection);
    stream.onReset = () => connection.destroy();
    stream.onData = (data) => {
      if (data === undefined) connection.end();
      else if (!connection.destroyed && !connection.write(data)) this.#holdUntilDrained(connection);
    };
    for (const data of early) stream.onData(data);
    connection.on('data', (chunk: Buffer) => {
      connection.pause();
      this.#spdy.write(stream, chunk, () => connection.resume());
    });
    connection.on('error', finish);
    connection.on('end', () => finish());
    connection.on('close', () => {
      this.#connections.delete(connection);
      finish();
    });
  }

  /** Nothing is read while any of the connections is behind. */
  #holdUntilDrained(connection: Duplex): void {
    if (this.#full++ === 0) this.#carrier.pause();
    const go = (): void => {
      connection.off('drain', go).off('close', go);
      if (--this.#full === 0) this.#carrier.resume();
    };
    connection.once('drain', go).once('close', go);
  }
}
