/** Carriers to endpoints: HBONE streams where they are meshed, TCP where they are not; idle ones are pooled. */
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';
import type { Duplex, DuplexOptions } from 'node:stream';
import { type Endpoint, parseAddress } from '../../protocol/discovery.ts';
import type { Carrier, CarrierCallback, CarrierHandler, Connector } from '../carrier.ts';
import { ProxyError } from '../error.ts';
import { overloaded } from '../http/failures.ts';
import { errorCode } from '../http2/frames.ts';
import type { Http2Stream } from '../http2/stream.ts';
import { hearLastWords } from '../net/last-words.ts';
import { letClose } from '../net/leave.ts';
import { shareReads } from '../net/shared-reads.ts';
import type { TimerWheel } from '../net/timer-wheel.ts';
import { turnBytes, writeTogether } from '../net/write-together.ts';
import type { HboneClient } from './hbone-client.ts';
import { poolKey } from './pool-key.ts';

const idlePerEndpoint = 256;
const idleInAll = 4096;
/** Shorter than servers keep idle connections, so that we seldom race their close. */
const idleMs = 4_000;

class PooledCarrier implements Carrier {
  readonly endpoint: Endpoint;
  readonly secure: boolean;
  reused = false;
  handler: CarrierHandler | undefined;
  idleSince = 0;
  readonly #duplex: Duplex;
  readonly #owner: PoolingConnector;
  /** Of the certificate it travels under; 0 for plain TCP. */
  readonly generation: number;
  readonly #onData = (chunk: Buffer): void => {
    if (this.handler) this.handler.onCarrierData(chunk);
    else this.destroy();
  };
  readonly #onEnd = (): void => {
    if (this.handler) this.handler.onCarrierEnd();
    else this.destroy();
  };
  readonly #onDrain = (): void => this.handler?.onCarrierDrain();
  readonly #onError = (error: Error): void => this.#gone(error);
  readonly #onClose = (): void => this.#gone(undefined);

  constructor(duplex: Duplex, endpoint: Endpoint, generation: number, owner: PoolingConnector) {
    this.#duplex = duplex;
    this.endpoint = endpoint;
    this.secure = generation > 0;
    this.generation = generation;
    this.#owner = owner;
    duplex
      .on('data', this.#onData)
      .on('end', this.#onEnd)
      .on('drain', this.#onDrain)
      .on('error', this.#onError)
      .on('close', this.#onClose);
  }

  write(chunk: Buffer, more: boolean): boolean {
    return writeTogether(this.#duplex, chunk, more);
  }
  pause(): void {
    if (this.secure) (this.#duplex as Http2Stream).holdsWindow = true;
    else this.#duplex.pause();
  }
  resume(): void {
    if (this.secure) (this.#duplex as Http2Stream).holdsWindow = false;
    else if (this.#duplex.isPaused()) this.#duplex.resume();
  }

  release(): void {
    this.handler = undefined;
    this.reused = true;
    this.resume();
    this.#owner.keep(this);
  }

  retire(): void {
    if (this.secure) return this.destroy();
    this.handler = undefined;
    letClose(this.#duplex);
  }

  destroy(error?: Error): void {
    this.handler = undefined;
    this.#owner.drop(this);
    this.#duplex.destroy(error);
  }

  detach(): Duplex {
    this.handler = undefined;
    const duplex = this.#duplex;
    if (this.secure) (duplex as Http2Stream).holdsWindow = false;
    duplex.pause();
    // Whoever takes it adds listeners of its own, perhaps later; the close follows, and it looks for that.
    duplex.on('error', () => {});
    duplex
      .removeListener('data', this.#onData)
      .removeListener('end', this.#onEnd)
      .removeListener('drain', this.#onDrain);
    duplex.removeListener('error', this.#onError).removeListener('close', this.#onClose);
    return duplex;
  }

  #gone(error: Error | undefined): void {
    const { handler } = this;
    this.handler = undefined;
    this.#owner.drop(this);
    if (error) this.#duplex.destroy();
    handler?.onCarrierClose(this.secure ? told((this.#duplex as Http2Stream).resetCode, this.endpoint, error) : error);
  }
}

/** What the peer's proxy says of its application, which has seen nothing of the request; else the cause as it is. */
function told(code: number | undefined, endpoint: Endpoint, cause: Error | undefined): Error | undefined {
  if (code === errorCode.overloaded) return overloaded(cause);
  return code === errorCode.refusedStream ? refusal(endpoint, cause) : cause;
}

function refusal(endpoint: Endpoint, cause: Error | undefined): ProxyError {
  const message = `${endpoint.address}: the application is gone`;
  return new ProxyError('connect-failed', message, { source: 'server', retry: 'yes', cause });
}

export interface ConnectorOptions {
  hbone: HboneClient | undefined;
  timers: TimerWheel;
  connectTimeoutMs: number;
}

export class PoolingConnector implements Connector {
  readonly #options: ConnectorOptions;
  /** Idle ones by their endpoint's key, the latest used last. */
  readonly #pools = new Map<string, PooledCarrier[]>();
  #idle = 0;
  #closed = false;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#sweep.deadline = options.timers.now + 1000;
    options.timers.add(this.#sweep);
  }

  /** Ends carriers that have been idle too long. */
  readonly #sweep = {
    deadline: 0,
    expire: (): void => {
      const { now } = this.#options.timers;
      for (const [key, pool] of this.#pools) {
        while (pool[0] && now - pool[0].idleSince > idleMs) pool[0].destroy();
        if (pool.length === 0) this.#pools.delete(key);
      }
      this.#sweep.deadline = now + 1000;
    },
  };

  connect(endpoint: Endpoint, fresh: boolean, callback: CarrierCallback): void {
    const pool = fresh ? undefined : this.#pools.get(poolKey(endpoint));
    // The latest used first: the others grow old and go.
    for (let carrier = pool?.at(-1); carrier; carrier = pool?.at(-1)) {
      if (this.#outdated(carrier)) {
        carrier.destroy();
        continue;
      }
      pool!.pop();
      this.#idle--;
      callback(undefined, carrier);
      return;
    }
    if (endpoint.identity && this.#options.hbone) this.#tunnel(endpoint, callback);
    else this.#plain(endpoint, callback);
  }

  close(): void {
    this.#closed = true;
    this.#options.timers.remove(this.#sweep);
    for (const pool of this.#pools.values()) while (pool.length > 0) pool.at(-1)!.destroy();
  }

  keep(carrier: PooledCarrier): void {
    const key = poolKey(carrier.endpoint);
    const pool = this.#pools.get(key) ?? [];
    const full = pool.length >= idlePerEndpoint || this.#idle >= idleInAll;
    if (this.#closed || full || this.#outdated(carrier)) return carrier.destroy();
    carrier.idleSince = this.#options.timers.now;
    pool.push(carrier);
    this.#idle++;
    if (pool.length === 1) this.#pools.set(key, pool);
  }

  drop(carrier: PooledCarrier): void {
    const pool = this.#pools.get(poolKey(carrier.endpoint));
    const at = pool?.lastIndexOf(carrier) ?? -1;
    if (at < 0) return;
    pool!.splice(at, 1);
    this.#idle--;
  }

  /** Its certificate was replaced: no new request, so that its session drains. */
  #outdated(carrier: PooledCarrier): boolean {
    return carrier.secure && carrier.generation !== this.#options.hbone?.generation;
  }

  #tunnel(endpoint: Endpoint, callback: CarrierCallback): void {
    const hbone = this.#options.hbone!;
    const { generation } = hbone;
    hbone.open(endpoint, (error, stream) => {
      if (!stream) return callback(error, undefined);
      callback(undefined, new PooledCarrier(stream, endpoint, generation, this));
    });
  }

  #plain(endpoint: Endpoint, callback: CarrierCallback): void {
    dialTcp(endpoint.address, this.#options.connectTimeoutMs, (error, socket) => {
      if (!socket) return callback(error, undefined);
      callback(undefined, new PooledCarrier(socket, endpoint, 0, this));
    });
  }
}

/** A TCP connection; half-open allowed, no Nagle, keepalive. Calls back once. */
export function dialTcp(
  address: Endpoint['address'],
  timeoutMs: number,
  callback: (error: ProxyError | undefined, socket: Socket | undefined) => void,
): void {
  const { ip, port } = parseAddress(address)!;
  // A socket takes the options of a stream, of which Node's types do not know.
  const options: TcpNetConnectOpts & DuplexOptions = {
    host: ip,
    port,
    highWaterMark: turnBytes,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 180_000,
  };
  const socket = connect(options);
  const fail = (code: string, message: string, cause?: Error) => {
    clearTimeout(timer);
    socket.removeAllListeners();
    socket.on('error', () => {}); // already reported
    socket.destroy();
    callback(new ProxyError(code, message, { source: 'server', retry: 'yes', cause }), undefined);
  };
  const timer = setTimeout(
    () => fail('connect-timeout', `${address} did not answer within ${timeoutMs} ms`),
    timeoutMs,
  );
  socket.once('error', (error) => fail('connect-failed', `${address}: ${error.message}`, error));
  socket.once('connect', () => {
    clearTimeout(timer);
    socket.removeAllListeners();
    shareReads(socket);
    hearLastWords(socket);
    callback(undefined, socket);
  });
}
