/**
 * Where the requests of all clients go into one port of the application: within a bound always, and as the application
 * can take them where load shedding is asked for.
 */
import { ProxyError } from '../error.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Timed, TimerWheel } from '../net/timer-wheel.ts';
import type { Shedder, Waiter } from '../shedding/shedder.ts';

/**
 * Requests at once, up to the end of their responses: above what connections to one port allow (some 28,000 local ports)
 * and what an application is built for, below what the proxy's memory bears.
 */
export const maxInFlight = 50_000;

/** Stands in `Exchange.state` of a probe: let in always, and not counted. */
export const probe = Symbol('probe');

export class Gate implements Timed {
  /** Of the requests that wait: looked at with each fine tick while there are any. */
  deadline = 0;
  readonly port: number;
  readonly shedder: Shedder | undefined;
  /** Requests turned away by the bound. */
  refused = 0;
  readonly #timers: Pick<TimerWheel, 'addFine' | 'removeFine'>;
  #inFlight = 0;

  /** `shedder`: where load shedding is asked for. */
  constructor(port: number, shedder: Shedder | undefined, timers: Pick<TimerWheel, 'addFine' | 'removeFine'>) {
    this.port = port;
    this.shedder = shedder;
    this.#timers = timers;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether the exchange's try may begin now; where not, `wait` is to be called. */
  admit(exchange: Exchange): boolean {
    if (exchange.state === probe) return true;
    if (exchange.attempts === 1) this.#inFlight++;
    if (this.#inFlight > maxInFlight) return false;
    if (!this.shedder) return true;
    const permit = this.shedder.enter();
    if (permit === 0) return false;
    exchange.state = permit;
    return true;
  }

  /** Calls back once, possibly at once, unless the exchange ends before: with an error where the request is turned away. */
  wait(exchange: Exchange, callback: (error: ProxyError | undefined) => void): void {
    const { shedder } = this;
    if (!shedder || this.#inFlight > maxInFlight) {
      this.refused++;
      return callback(this.#overloaded(`${maxInFlight} requests are in flight`));
    }
    const waiter: Waiter = {
      waitsSince: 0,
      onTurn: (permit) => {
        exchange.state = permit === 0 ? undefined : permit;
        callback(permit === 0 ? this.#overloaded(`it works at ${shedder.limit} at once`) : undefined);
      },
    };
    exchange.state = waiter;
    shedder.wait(waiter);
    this.deadline = 1;
    this.#timers.addFine(this);
  }

  /** An application that answers nothing calls nobody's turn. */
  expire(): void {
    this.shedder?.expire();
    if (this.shedder?.waiting) this.deadline = 1;
    else this.#timers.removeFine(this);
  }

  /** To be called when a try is over; see HttpObserver. */
  attemptEnd(exchange: Exchange, error: ProxyError | undefined): void {
    const permit = exchange.state;
    if (typeof permit !== 'number') return;
    exchange.state = undefined;
    if (error) this.shedder!.leave(permit);
    else this.shedder!.answered(permit);
  }

  /** To be called when an exchange is over. */
  requestEnd(exchange: Exchange): void {
    const { state } = exchange;
    exchange.state = undefined;
    if (exchange.attempts === 0 || state === probe) return; // it was not sent at all, or not counted
    this.#inFlight--;
    if (state === undefined) return;
    if (typeof state === 'number') this.shedder!.leave(state);
    else this.shedder!.forget(state as Waiter);
  }

  #overloaded(why: string): ProxyError {
    return new ProxyError('overloaded', `port ${this.port}: ${why}`, { source: 'server' });
  }
}
