/** The application's side of one inbound HTTP/2 connection: connections to it that no other client shares. */
import type { Socket } from 'node:net';
import type { Address, Endpoint } from '../../protocol/discovery.ts';
import type { Exchange, Http2Target } from '../http/exchange.ts';
import { SessionPool, type SessionUser } from '../http2/session-pool.ts';
import type { Timed, TimerWheel } from '../net/timer-wheel.ts';
import { dialTcp } from '../tunnel/connector.ts';
import { applicationTimeoutMs } from './application.ts';
import type { Gate } from './gate.ts';

const sweepMs = 1_000;

export class Http2Application implements Http2Target, Timed {
  deadline: number;
  readonly #endpoint: Endpoint;
  readonly #pool: SessionPool;
  readonly #gate: Gate;
  readonly #timers: TimerWheel;

  /** `first`: a connection to begin with. `onServerEnd`: the application ends a connection, or says that it will. */
  constructor(address: Address, gate: Gate, first: Socket, timers: TimerWheel, onServerEnd: () => void) {
    this.#endpoint = { address };
    this.#gate = gate;
    this.#timers = timers;
    this.deadline = timers.now + sweepMs;
    this.#pool = new SessionPool({
      name: address,
      dial: (callback) => dialTcp(address, applicationTimeoutMs, callback),
      generation: () => 0,
      now: () => timers.now,
      // It lasts as long as the client's.
      idleMs: Number.POSITIVE_INFINITY,
      onServerEnd,
    });
    if (!first.destroyed && !first.readableEnded) this.#pool.adopt(first, 0);
    timers.add(this);
  }

  acquireSession(exchange: Exchange, user: SessionUser): void {
    exchange.endpoint = this.#endpoint;
    if (this.#gate.admit(exchange)) return this.#pool.acquire(user);
    this.#gate.wait(exchange, (error) => (error ? user.onSession(error, undefined) : this.#pool.acquire(user)));
  }

  expire(): void {
    this.#pool.sweep();
    this.deadline = this.#timers.now + sweepMs;
  }

  close(): void {
    this.#timers.remove(this);
    this.#pool.close();
  }
}
