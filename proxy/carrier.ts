/** A byte connection towards a server: the seam between the HTTP engine, the balancer and the tunnels. */
import type { Duplex } from 'node:stream';
import type { Endpoint } from '../protocol/discovery.ts';
import type { ProxyError } from './error.ts';

/**
 * One connection (TCP socket, or HBONE CONNECT stream) to one endpoint, with `allowHalfOpen` semantics: `end()`
 * sends FIN / END_STREAM and the other direction goes on. Whoever holds it reads and writes `duplex` directly.
 * While idle in a pool it is watched: bytes or an end arriving there destroy it.
 */
export interface Carrier {
  readonly duplex: Duplex;
  readonly endpoint: Endpoint;
  /** Whether it travels in mutual TLS. */
  readonly secure: boolean;
  /** Whether it has carried an exchange before (decides if a failure is retried). */
  readonly reused: boolean;
  /** The exchange is over and the connection in a clean state: it may carry another. Listeners must be removed. */
  release(): void;
  /** Not to be used again. */
  destroy(error?: Error): void;
}

export type CarrierCallback = (error: ProxyError | undefined, carrier: Carrier | undefined) => void;

/** Opens and pools connections; keyed by endpoint address and expected identity. */
export interface Connector {
  /** An idle carrier where there is one, else a new one; `fresh` never takes an idle one. Calls back at most once,
   * possibly at once. Connect failures are `ProxyError`s with retry `yes`. */
  connect(endpoint: Endpoint, options: { fresh: boolean }, callback: CarrierCallback): void;
  /** Drops idle carriers of endpoints that are gone. */
  forget(endpoint: Endpoint): void;
  close(): void;
}
