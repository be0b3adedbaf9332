/** HTTP/2 sessions to endpoints, pooled per endpoint: within HBONE streams where they are meshed, plain where they are not. */
import type { Endpoint } from '../../protocol/discovery.ts';
import { SessionPool, type SessionUser } from '../http2/session-pool.ts';
import { type ConnectorOptions, dialTcp } from './connector.ts';
import { poolKey } from './pool-key.ts';

const sweepMs = 1_000;

export class SessionConnector {
  readonly #options: ConnectorOptions;
  readonly #pools = new Map<string, SessionPool>();
  readonly #sweep = {
    deadline: 0,
    expire: (): void => {
      for (const [key, pool] of this.#pools) {
        pool.sweep();
        if (pool.empty) this.#pools.delete(key);
      }
      this.#sweep.deadline = this.#options.timers.now + sweepMs;
    },
  };

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#sweep.deadline = options.timers.now + sweepMs;
    options.timers.add(this.#sweep);
  }

  acquire(endpoint: Endpoint, user: SessionUser): void {
    const key = poolKey(endpoint);
    let pool = this.#pools.get(key);
    if (!pool) {
      pool = this.#makePool(endpoint);
      this.#pools.set(key, pool);
    }
    pool.acquire(user);
  }

  close(): void {
    this.#options.timers.remove(this.#sweep);
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  #makePool(endpoint: Endpoint): SessionPool {
    const { hbone, timers, connectTimeoutMs } = this.#options;
    const tunnel = endpoint.identity ? hbone : undefined;
    return new SessionPool({
      name: endpoint.address,
      dial: (callback) => {
        if (tunnel) tunnel.open(endpoint, callback);
        else dialTcp(endpoint.address, connectTimeoutMs, callback);
      },
      generation: () => tunnel?.generation ?? 0,
      now: () => timers.now,
    });
  }
}
