/** All deadlines of the proxy on two ticks: no timer object per request. Accurate to one tick. */
import { type Listed, Roster } from './roster.ts';

export interface Timed extends Listed {
  /** When to expire, milliseconds of `performance.now()`; 0 for never. */
  deadline: number;
  expire(): void;
}

const tickMs = 500;
const fineTickMs = 20;

export class TimerWheel {
  readonly #members = new Roster<Timed>();
  readonly #timer: NodeJS.Timeout;
  /** Those for whom half a second is long; they are few, and the tick runs only while there are any. */
  readonly #fine = new Roster<Timed>();
  #fineTimer: NodeJS.Timeout | undefined;
  /** Monotonic milliseconds, renewed each tick: cheap to read, up to one tick old. */
  now = performance.now();

  constructor() {
    this.#timer = setInterval(() => this.tick(performance.now()), tickMs);
    this.#timer.unref();
  }

  /** Accurate to half a second: for whom lasts as long as a connection. */
  add(member: Timed): void {
    this.#members.add(member);
  }

  remove(member: Timed): void {
    this.#members.delete(member);
  }

  /** Accurate to 20 ms: for requests of which something is asked. */
  addFine(member: Timed): void {
    this.#fine.add(member);
    this.#fineTimer ??= setInterval(() => this.#fineTick(), fineTickMs).unref();
  }

  removeFine(member: Timed): void {
    this.#fine.delete(member);
  }

  tick(now: number): void {
    this.now = now;
    expireThose(this.#members, now);
  }

  #fineTick(): void {
    expireThose(this.#fine, performance.now());
    if (this.#fine.size > 0) return;
    clearInterval(this.#fineTimer);
    this.#fineTimer = undefined;
  }

  stop(): void {
    clearInterval(this.#timer);
    clearInterval(this.#fineTimer);
    this.#fineTimer = undefined;
  }
}

function expireThose(members: Roster<Timed>, now: number): void {
  members.each((member) => {
    if (member.deadline === 0 || member.deadline > now) return;
    member.deadline = 0;
    member.expire();
  });
}
