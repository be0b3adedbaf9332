/** A byte connection towards a server: the seam between the HTTP engine, the balancer and the tunnels. */
import type { Duplex } from 'node:stream';
import type { Endpoint } from '../protocol/discovery.ts';
import type { ProxyError } from './error.ts';

/** What the holder of a carrier hears. One object per client connection, not one per request. */
export interface CarrierHandler {
  onCarrierData(chunk: Buffer): void;
  /** The server has sent all it will. */
  onCarrierEnd(): void;
  onCarrierDrain(): void;
  /** The connection is gone; called at most once and never after release(), retire() or destroy(). */
  onCarrierClose(error: Error | undefined): void;
}

/**
 * One connection (TCP socket, or HBONE CONNECT stream) to one endpoint. While it has no handler it is idle: bytes or
 * an end arriving then destroy it, so that they can never be taken for the next response (GHSA-35p6-xmwp-9g52).
 */
export interface Carrier {
  readonly endpoint: Endpoint;
  /** Whether it travels in mutual TLS. */
  readonly secure: boolean;
  /** Whether it has carried an exchange before (decides if a failure is retried). */
  readonly reused: boolean;
  handler: CarrierHandler | undefined;
  /** `more` of the request is sure to follow. False asks the writer to wait for onCarrierDrain. */
  write(chunk: Buffer, more: boolean): boolean;
  /** Until `resume()`, no more is asked for; what a tunnel's window has let through by then is still handed over. */
  pause(): void;
  resume(): void;
  /** The exchange is over and the connection in a clean state: it may carry another. */
  release(): void;
  /** The exchange is over, and the server has said that it closes the connection behind it. */
  retire(): void;
  /** Not to be used again. */
  destroy(error?: Error): void;
  /** Gives the bare connection away (upgrade, opaque traffic): no handler, no pool any more. Paused. */
  detach(): Duplex;
}

export type CarrierCallback = (error: ProxyError | undefined, carrier: Carrier | undefined) => void;

/** Opens and pools connections; keyed by endpoint address and expected identity. */
export interface Connector {
  /**
   * An idle carrier where there is one, else a new one; `fresh` never takes an idle one. Calls back once, possibly at
   * once. Connect failures are `ProxyError`s with retry `yes`.
   */
  connect(endpoint: Endpoint, fresh: boolean, callback: CarrierCallback): void;
  close(): void;
}
