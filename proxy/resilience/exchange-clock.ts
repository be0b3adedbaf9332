/** The times one request is held to: its deadline, each try's, silence, and the wait before a retry. */
import { ProxyError } from '../error.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Fields } from '../http/head-fields.ts';
import type { Timed, TimerWheel } from '../net/timer-wheel.ts';

/**
 * The server's proxy is told of whole milliseconds, and counts them by a clock of its own: by so much it may find a
 * request late before this one does.
 */
const earlyMs = 5;

export interface ClockUser {
  /** A try, or with it the whole request, has taken too long. */
  onExpired(error: ProxyError): void;
  /** The wait before a retry is over. */
  onWaited(): void;
}

/** Made for requests that have a deadline or limits, and no others. */
export class ExchangeClock implements Timed {
  deadline = 0;
  readonly #timers: TimerWheel;
  readonly #exchange: Exchange;
  readonly #user: ClockUser;
  /** Milliseconds of performance.now(); 0 while it does not hold. */
  #tryUntil = 0;
  #waitUntil = 0;
  #usedAt = 0;

  constructor(timers: TimerWheel, exchange: Exchange, user: ClockUser) {
    this.#timers = timers;
    this.#exchange = exchange;
    this.#user = user;
  }

  start(): void {
    this.#tryUntil = 0;
    this.#waitUntil = 0;
    this.#usedAt = performance.now();
    this.#timers.addFine(this);
    this.#arm();
  }

  stop(): void {
    this.deadline = 0;
    this.#timers.removeFine(this);
  }

  /** Whether there is no time for a try; `expire` then says why. */
  get late(): boolean {
    const { deadline } = this.#exchange;
    return deadline > 0 && deadline <= performance.now();
  }

  /** A try begins: its response has to. */
  tryBegins(): void {
    const { responseMs = 0 } = this.#exchange.limits ?? {};
    if (responseMs === 0) return;
    this.#tryUntil = performance.now() + responseMs;
    this.#arm();
  }

  /** The head of a response is there. */
  answered(): void {
    this.#tryUntil = 0;
  }

  /** A byte came, from either side. */
  used(): void {
    this.#usedAt = performance.now();
  }

  /** Before the next try. */
  wait(ms: number): void {
    this.#tryUntil = 0;
    this.#waitUntil = performance.now() + ms;
    this.#arm();
  }

  /**
   * The answer to a try came. True where it only says that the time for the request is over, which the server's proxy
   * was told and noticed first: the request has failed by its own limit then, and the client is to hear which.
   */
  answersLate(answer: Fields): boolean {
    const { deadline, deadlineCode, endpoint } = this.#exchange;
    if (deadline === 0 || deadlineCode !== 'request-timeout' || endpoint?.identity === undefined) return false;
    if (performance.now() + earlyMs < deadline) return false;
    if (!answer.value('mesh-error')?.startsWith('deadline-exceeded;')) return false;
    this.#user.onExpired(late(deadlineCode));
    return true;
  }

  expire(): void {
    const now = performance.now();
    const { deadline, deadlineCode } = this.#exchange;
    const { responseMs = 0, idleMs = 0 } = this.#exchange.limits ?? {};
    if (deadline > 0 && deadline <= now) return this.#user.onExpired(late(deadlineCode));
    if (this.#waitUntil > 0 && this.#waitUntil <= now) {
      this.#waitUntil = 0;
      this.#arm();
      return this.#user.onWaited();
    }
    if (this.#tryUntil > 0 && this.#tryUntil <= now) {
      this.#tryUntil = 0;
      this.#arm();
      const message = `no response within ${responseMs} ms`;
      return this.#user.onExpired(new ProxyError('response-timeout', message, { source: 'server' }));
    }
    if (idleMs > 0 && this.#usedAt + idleMs <= now) {
      const message = `no byte either way for ${idleMs} ms`;
      return this.#user.onExpired(new ProxyError('idle-timeout', message, { source: 'proxy' }));
    }
    this.#arm();
  }

  #arm(): void {
    const { idleMs = 0 } = this.#exchange.limits ?? {};
    let next = this.#exchange.deadline;
    for (const one of [this.#tryUntil, this.#waitUntil, idleMs > 0 ? this.#usedAt + idleMs : 0]) {
      if (one > 0 && (next === 0 || one < next)) next = one;
    }
    this.deadline = next;
  }
}

function late(code: 'request-timeout' | 'deadline-exceeded'): ProxyError {
  const message =
    code === 'request-timeout' ? 'the time for the request is over' : 'the deadline that came with the request is over';
  return new ProxyError(code, message, { source: 'proxy' });
}
