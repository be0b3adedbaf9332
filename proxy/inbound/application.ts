/** The application's side of one inbound connection: one TCP connection to it, made again where it was closed. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Address, Endpoint } from '../../protocol/discovery.ts';
import type { Carrier, CarrierCallback, CarrierHandler } from '../carrier.ts';
import type { Exchange, Http1Target } from '../http/exchange.ts';
import { letClose } from '../net/leave.ts';
import { writeTogether } from '../net/write-together.ts';
import { dialTcp } from '../tunnel/connector.ts';
import type { Gate } from './gate.ts';

export const applicationTimeoutMs = 2_000;

class ApplicationCarrier implements Carrier {
  readonly endpoint: Endpoint;
  readonly secure = false;
  reused = false;
  handler: CarrierHandler | undefined;
  readonly socket: Socket;
  readonly #onIdle: (carrier: ApplicationCarrier, alive: boolean) => void;
  readonly #onGone = (error?: Error): void => {
    const { handler } = this;
    this.handler = undefined;
    if (handler) handler.onCarrierClose(error instanceof Error ? error : undefined);
    else this.#onIdle(this, false);
  };

  constructor(socket: Socket, endpoint: Endpoint, onIdle: (carrier: ApplicationCarrier, alive: boolean) => void) {
    this.socket = socket;
    this.endpoint = endpoint;
    this.#onIdle = onIdle;
    socket.on('data', (chunk: Buffer) => (this.handler ? this.handler.onCarrierData(chunk) : this.destroy()));
    socket.on('end', () => (this.handler ? this.handler.onCarrierEnd() : this.destroy()));
    socket.on('drain', () => this.handler?.onCarrierDrain());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onGone());
    socket.resume();
  }

  write(chunk: Buffer, more: boolean): boolean {
    return writeTogether(this.socket, chunk, more);
  }
  pause(): void {
    this.socket.pause();
  }
  resume(): void {
    this.socket.resume();
  }
  release(): void {
    this.handler = undefined;
    this.reused = true;
    if (this.socket.isPaused()) this.socket.resume();
    this.#onIdle(this, true);
  }
  retire(): void {
    this.handler = undefined;
    letClose(this.socket);
  }
  destroy(): void {
    this.handler = undefined;
    this.socket.destroy();
  }
  detach(): Duplex {
    this.handler = undefined;
    this.socket.pause();
    for (const event of ['data', 'end', 'drain', 'close', 'error']) this.socket.removeAllListeners(event);
    return this.socket;
  }
}

/** Serves the HTTP engine of one inbound connection. */
export class Application implements Http1Target {
  readonly #endpoint: Endpoint;
  readonly #gate: Gate;
  readonly #onIdleClose: () => void;
  #idle: ApplicationCarrier | undefined;
  readonly #onIdle = (carrier: ApplicationCarrier, alive: boolean): void => {
    if (alive) this.#idle = carrier;
    else if (this.#idle === carrier) {
      this.#idle = undefined;
      this.#onIdleClose();
    }
  };

  /** `first`: a connection to begin with. `onIdleClose`: the application ended it between two exchanges. */
  constructor(address: Address, gate: Gate, first: Socket | undefined, onIdleClose: () => void) {
    this.#endpoint = { address };
    this.#gate = gate;
    this.#onIdleClose = onIdleClose;
    if (first) this.#idle = new ApplicationCarrier(first, this.#endpoint, this.#onIdle);
  }

  acquire(exchange: Exchange, callback: CarrierCallback): void {
    if (this.#gate.admit(exchange)) return this.#connect(callback);
    this.#gate.wait(exchange, (error) => (error ? callback(error, undefined) : this.#connect(callback)));
  }

  #connect(callback: CarrierCallback): void {
    const carrier = this.#idle;
    if (carrier && !carrier.socket.destroyed) {
      this.#idle = undefined;
      callback(undefined, carrier);
      return;
    }
    dialTcp(this.#endpoint.address, applicationTimeoutMs, (error, socket) => {
      if (!socket) return callback(error, undefined);
      callback(undefined, new ApplicationCarrier(socket, this.#endpoint, this.#onIdle));
    });
  }

  close(): void {
    const carrier = this.#idle;
    this.#idle = undefined;
    carrier?.destroy();
  }
}
