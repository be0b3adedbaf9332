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

const clock = () => performance.now();

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
  readonly #now: () => number;
  /** Of the exchange's limits as it began: they may change before it ends. */
  #responseMs = 0;
  #idleMs = 0;
  /** Milliseconds of the clock; 0 while it does not hold. */
  #tryUntil = 0;
  #waitUntil = 0;
  #usedAt = 0;

  /** `now`: milliseconds, that of the wheel and of the exchange. */
  constructor(timers: TimerWheel, exchange: Exchange, user: ClockUser, now: () => number = clock) {
    this.#timers = timers;
    this.#exchange = exchange;
    this.#user = user;
    this.#now = now;
  }

  start(): void {
    const { limits } = this.#exchange;
    this.#responseMs = limits?.responseMs ?? 0;
    this.#idleMs = limits?.idleMs ?? 0;
    this.#tryUntil = 0;
    this.#waitUntil = 0;
    this.used();
    this.#arm();
  }

  stop(): void {
    this.deadline = 0;
    this.#timers.removeFine(this);
  }

  /** Whether there is no time for a try; `expire` then says why. */
  get late(): boolean {
    const { deadline } = this.#exchange;
    return deadline > 0 && deadline <= this.#now();
  }

  /** A try begins: its response has to. */
  tryBegins(): void {
    if (this.#responseMs === 0) return;
    this.#tryUntil = this.#now() + this.#responseMs;
    this.#arm();
  }

  /** The head of a response is there. */
  answered(): void {
    this.#tryUntil = 0;
  }

  /** A byte came, from either side. */
  used(): void {
    if (this.#idleMs > 0) this.#usedAt = this.#now();
  }

  /** Before the next try. */
  wait(ms: number): void {
    this.#tryUntil = 0;
    this.#waitUntil = this.#now() + ms;
    this.#arm();
  }

  /**
   * The answer to a try came. True where it only says that the time for the request is over, which the server's proxy
   * was told and noticed first: the request has failed by its own limit then, and the client is to hear which.
   */
  answersLate(answer: Fields): boolean {
    const { deadlineCode, endpoint } = this.#exchange;
    if (deadlineCode !== 'request-timeout' || endpoint?.identity === undefined || !this.#almostLate) return false;
    if (!answer.value('mesh-error')?.startsWith('deadline-exceeded;')) return false;
    this.#user.onExpired(late(deadlineCode));
    return true;
  }

  /** Why a try failed: where a response that had begun was cut off as the time for the request ended, by that. */
  reason(error: ProxyError): ProxyError {
    const { response, deadlineCode } = this.#exchange;
    return response && error.source === 'server' && this.#almostLate ? late(deadlineCode) : error;
  }

  get #almostLate(): boolean {
    const { deadline } = this.#exchange;
    return deadline > 0 && deadline <= this.#now() + earlyMs;
  }

  expire(): void {
    const now = this.#now();
    const { deadline, deadlineCode } = this.#exchange;
    if (deadline > 0 && deadline <= now) return this.#user.onExpired(late(deadlineCode));
    if (this.#waitUntil > 0 && this.#waitUntil <= now) {
      this.#waitUntil = 0;
      this.#arm();
      return this.#user.onWaited();
    }
    if (this.#tryUntil > 0 && this.#tryUntil <= now) {
      this.#tryUntil = 0;
      this.#arm();
      const message = `no response within ${this.#responseMs} ms`;
      return this.#user.onExpired(new ProxyError('response-timeout', message, { source: 'server' }));
    }
    if (this.#idleMs > 0 && this.#usedAt + this.#idleMs <= now) {
      const message = `no byte either way for ${this.#idleMs} ms`;
      return this.#user.onExpired(new ProxyError('idle-timeout', message, { source: 'proxy' }));
    }
    this.#arm();
  }

  #arm(): void {
    const idleUntil = this.#idleMs > 0 ? this.#usedAt + this.#idleMs : 0;
    const next = earlier(this.#exchange.deadline, earlier(this.#tryUntil, earlier(this.#waitUntil, idleUntil)));
    this.deadline = next;
    if (next > 0) this.#timers.addFine(this);
  }
}

/** Of two times of which 0 is never. */
function earlier(one: number, other: number): number {
  return one > 0 && (other === 0 || one < other) ? one : other;
}

function late(code: 'request-timeout' | 'deadline-exceeded'): ProxyError {
  const message =
    code === 'request-timeout' ? 'the time for the request is over' : 'the deadline that came with the request is over';
  return new ProxyError(code, message, { source: 'proxy' });
}
