/**
 * The proxy as two pods have it, in this process: client → outbound engine → inbound engine → server, over real
 * sockets, with what either engine sent on for each request kept apart. One client at a time.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Address } from '../../protocol/discovery.ts';
import type { Carrier, CarrierCallback } from '../../proxy/carrier.ts';
import type { Exchange, Http1Target, HttpObserver } from '../../proxy/http/exchange.ts';
import { Http1Connection } from '../../proxy/http/http1-connection.ts';
import { Application } from '../../proxy/inbound/application.ts';
import { Gate } from '../../proxy/inbound/gate.ts';
import { TimerWheel } from '../../proxy/net/timer-wheel.ts';
import { PoolingConnector } from '../../proxy/tunnel/connector.ts';

/** One request as an engine had it. */
export interface Passed {
  method: string;
  /** What was sent on in the last try. */
  bytes: Buffer[];
  attempts: number;
  /** 0 where no response came. */
  status: number;
  error: string | undefined;
  ended: boolean;
}

export interface Passage {
  outbound: Passed[];
  inbound: Passed[];
  /** Codes of requests refused. */
  refused: string[];
  /** What the outbound engine wrote to each of its clients, as latin1. */
  toClients: string[];
  /** What the client received, as latin1. */
  text: string;
  /** The client's connection did not end in time. */
  hung: boolean;
}

/** Hears of an engine's requests, and takes down what it writes to its carriers. */
class Tap implements HttpObserver {
  passed: Passed[] = [];
  readonly #tapped = new WeakSet<Carrier>();
  readonly #current = new WeakMap<Carrier, Passed>();
  readonly #of = new WeakMap<Exchange, Passed>();

  requestBegin(): void {}

  target(inner: Http1Target): Http1Target {
    return {
      acquire: (exchange: Exchange, callback: CarrierCallback) => {
        const passed = exchange.attempts === 1 ? this.#begin(exchange) : this.#of.get(exchange)!;
        passed.attempts = exchange.attempts;
        inner.acquire(exchange, (error, carrier) => {
          if (carrier) this.#listen(carrier, passed);
          callback(error, carrier);
        });
      },
    };
  }

  #begin(exchange: Exchange): Passed {
    const { method } = exchange;
    const passed: Passed = { method, bytes: [], attempts: 1, status: 0, error: undefined, ended: false };
    this.passed.push(passed);
    this.#of.set(exchange, passed);
    return passed;
  }

  #listen(carrier: Carrier, passed: Passed): void {
    this.#current.set(carrier, passed);
    passed.bytes = [];
    if (this.#tapped.has(carrier)) return;
    this.#tapped.add(carrier);
    const write = carrier.write.bind(carrier);
    carrier.write = (chunk, more) => {
      this.#current.get(carrier)!.bytes.push(Buffer.from(chunk));
      return write(chunk, more);
    };
  }

  attemptEnd(): void {}

  requestEnd(exchange: Exchange): void {
    const passed = this.#of.get(exchange)!;
    passed.status = exchange.status;
    passed.error = exchange.error?.code;
    passed.ended = true;
  }
}

export class Chain {
  readonly #timers = new TimerWheel();
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  #entry = 0;
  #outbound = new Tap();
  #inbound = new Tap();
  #refused: string[] = [];
  #toClients: Buffer[][] = [];
  #connector: PoolingConnector | undefined;
  #open = 0;
  #onClosed: (() => void) | undefined;

  static async to(server: Address): Promise<Chain> {
    const chain = new Chain();
    const inbound = await chain.#listen((socket) => {
      const application = new Application(server, new Gate(80, undefined, chain.#timers), undefined, () => {});
      chain.#serve(socket, chain.#inbound, application, () => application.close());
    });
    const endpoint = { address: `127.0.0.1:${inbound}` as Address };
    chain.#entry = await chain.#listen((socket) => {
      const target: Http1Target = {
        acquire(exchange, callback) {
          exchange.endpoint = endpoint;
          chain.#connector!.connect(endpoint, false, callback);
        },
      };
      chain.#record(socket);
      chain.#serve(socket, chain.#outbound, target, () => {});
    });
    return chain;
  }

  /** Where clients of the outbound engine connect; `begin` and `end` each client's time. */
  get port(): number {
    return this.#entry;
  }

  async #listen(onConnection: (socket: Socket) => void): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}); // resets are part of it
      socket.on('close', () => this.#sockets.delete(socket));
      onConnection(socket);
    });
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  #record(socket: Socket): void {
    const written: Buffer[] = [];
    this.#toClients.push(written);
    const write = socket.write.bind(socket) as (chunk: Buffer) => boolean;
    socket.write = (chunk: Buffer | string) => {
      written.push(Buffer.from(chunk as Buffer));
      return write(chunk as Buffer);
    };
  }

  #serve(socket: Socket, tap: Tap, target: Http1Target, onClose: () => void): void {
    this.#open++;
    new Http1Connection(socket, undefined, {
      target: tap.target(target),
      observer: tap,
      timers: this.#timers,
      errorHeader: true,
      onRefused: (code) => this.#refused.push(code),
      onClose: () => {
        this.#open--;
        onClose();
        if (this.#open === 0) this.#onClosed?.();
      },
    });
  }

  begin(): void {
    this.#outbound = new Tap();
    this.#inbound = new Tap();
    this.#refused = [];
    this.#toClients = [];
    this.#connector = new PoolingConnector({ hbone: undefined, timers: this.#timers, connectTimeoutMs: 2000 });
  }

  /** Ends what is open, of clients that keep their connections too within `graceMs`; tells what went through since `begin`. */
  async end(graceMs: number): Promise<Omit<Passage, 'text' | 'hung'>> {
    this.#connector?.close();
    if (this.#open > 0) {
      const closed = new Promise<void>((resolve) => {
        this.#onClosed = resolve;
      });
      const timer = setTimeout(() => {
        for (const socket of this.#sockets) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(timer);
      this.#onClosed = undefined;
    }
    const toClients = this.#toClients.map((written) => Buffer.concat(written).toString('latin1'));
    return { outbound: this.#outbound.passed, inbound: this.#inbound.passed, refused: this.#refused, toClients };
  }

  /** Sends the parts one after another, ends the client's side and waits for the other. */
  async pass(parts: readonly Buffer[], deadlineMs: number): Promise<Passage> {
    this.begin();
    const { text, hung } = await converse(this.#entry, parts, true, deadlineMs);
    return { ...(await this.end(1_000)), text, hung };
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#timers.stop();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** One client's connection: what it received until the other side ended it, or the deadline came. */
export async function converse(
  port: number,
  parts: readonly Buffer[],
  end: boolean,
  deadlineMs: number,
): Promise<{ text: string; hung: boolean }> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: end });
  let text = '';
  let hung = false;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => {}); // resets are part of it
  const closed = new Promise<void>((resolve) => {
    socket.on('end', resolve);
    socket.on('close', () => resolve());
  });
  const timer = setTimeout(() => {
    hung = true;
    socket.destroy();
  }, deadlineMs);
  for (const part of parts) {
    if (socket.destroyed) break;
    socket.write(part);
    if (parts.length > 1) await turn();
  }
  if (end && !socket.destroyed) socket.end();
  await closed;
  clearTimeout(timer);
  socket.destroy();
  return { text, hung };
}
