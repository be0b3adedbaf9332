/**
 * Lets requests into one port of an application: all of them as long as it is not overloaded, then as many at once as
 * it works at, a few that wait, the newest first (an old one's client is the likelier to have given up), and no more.
 */
import { ConcurrencyLimit } from './concurrency-limit.ts';
import { InFlight } from './in-flight.ts';
import { LatencyWindow } from './latency-window.ts';

/** Of an application that answers so seldom nothing is concluded, milliseconds. */
const longestWindowMs = 30_000;
const maxWaiting = 256;
const maxWaitMs = 100;
/** What has taken so long waits for something else than the application's workers, milliseconds. */
const longMs = 5_000;
/** The same as a multiple of the usual latency, of slow applications. */
const longTimes = 10;

/** A request that waits for its turn. */
export interface Waiter {
  /** When it began to, milliseconds; set by the shedder. */
  waitsSince: number;
  /** Its permit, or 0 where it is shed. */
  onTurn(permit: number): void;
}

export class Shedder {
  /** Requests turned away. */
  shed = 0;
  readonly #now: () => number;
  readonly #limit = new ConcurrencyLimit();
  readonly #inFlight = new InFlight();
  readonly #latencies = new LatencyWindow();
  /** The newest last. */
  #waiting: Waiter[] = [];
  /** Of the window at hand. */
  #since: number;
  #before = 0;
  #reached = false;
  #shedBefore = 0;
  /** The limit was lowered, and more are in flight still. */
  #draining = false;

  /** `now`: milliseconds, monotonic, above 0. */
  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
  }

  get inFlight(): number {
    return this.#inFlight.count;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Infinity without a limit. */
  get limit(): number {
    return this.#limit.limit;
  }

  /** A permit, to be given back by `answered` or `leave`; 0 where there is none now: `wait` for one. */
  enter(): number {
    const now = this.#now();
    this.#age(now);
    if (this.#inFlight.count < this.#limit.limit) return this.#permit(now);
    this.#reached = true;
    return 0;
  }

  /** Tells the waiter once, unless it is forgotten. */
  wait(waiter: Waiter): void {
    const now = this.#now();
    this.expire(now);
    waiter.waitsSince = now;
    if (this.#waiting.length >= Math.min(maxWaiting, this.#limit.limit)) this.#turnAway(this.#waiting.shift()!);
    this.#waiting.push(waiter);
  }

  /** Its client has gone. */
  forget(waiter: Waiter): void {
    const at = this.#waiting.indexOf(waiter);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** The head of its response has come. */
  answered(permit: number): void {
    const now = this.#now();
    const counted = this.#inFlight.leave(permit);
    this.#latencies.add(now - permit, !counted);
    this.#drain(now);
    const duration = now - this.#since;
    const { windowSamples } = this.#limit;
    const windowMs = Math.min(this.#limit.windowMs, longestWindowMs);
    if (!this.#draining && duration >= windowMs && this.#latencies.count >= windowSamples)
      this.#conclude(duration, now);
    else if (duration > longestWindowMs) this.#begin(now);
    this.#serve(now);
  }

  /** It ended without a response, or was not sent at all. */
  leave(permit: number): void {
    const now = this.#now();
    this.#inFlight.leave(permit);
    this.#drain(now);
    this.#serve(now);
  }

  /** Turns away those who have waited too long; to be called now and then while there are any and nothing else happens. */
  expire(now = this.#now()): void {
    while (this.#waiting[0] && now - this.#waiting[0].waitsSince > maxWaitMs) this.#turnAway(this.#waiting.shift()!);
  }

  #age(now: number): void {
    this.#inFlight.age(now, Math.max(longMs, longTimes * this.#limit.usual));
  }

  #permit(now: number): number {
    this.#inFlight.enter();
    return now;
  }

  #serve(now: number): void {
    if (this.#waiting.length === 0) return;
    this.expire(now);
    this.#age(now);
    while (this.#waiting.length > 0 && this.#inFlight.count < this.#limit.limit) {
      this.#waiting.pop()!.onTurn(this.#permit(now));
    }
  }

  #turnAway(waiter: Waiter): void {
    this.shed++;
    waiter.onTurn(0);
  }

  /** What a lower limit does is seen from when it is kept to. */
  #drain(now: number): void {
    if (this.#draining && this.#inFlight.count <= this.#limit.limit) this.#begin(now);
  }

  #conclude(duration: number, now: number): void {
    const window = {
      duration,
      answered: this.#latencies.count,
      mean: this.#latencies.mean,
      fastest: this.#latencies.fastest,
      before: this.#before,
      after: this.#inFlight.count,
      reached: this.#reached,
      shed: this.shed - this.#shedBefore,
    };
    const lowered = this.#limit.take(window, now);
    this.#begin(now);
    this.#draining = lowered;
  }

  #begin(now: number): void {
    this.#latencies.clear();
    this.#draining = false;
    this.#since = now;
    this.#before = this.#inFlight.count;
    this.#reached = false;
    this.#shedBefore = this.shed;
  }
}
