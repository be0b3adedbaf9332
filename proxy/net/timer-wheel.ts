/** One coarse timer for all deadlines of the proxy: no timer object per request. Accurate to one tick. */

export interface Timed {
  /** When to expire, milliseconds of `TimerWheel.now`; 0 for never. */
  deadline: number;
  expire(): void;
}

const tickMs = 500;

export class TimerWheel {
  readonly #members = new Set<Timed>();
  readonly #timer: NodeJS.Timeout;
  /** Monotonic milliseconds, renewed each tick: cheap to read, up to one tick old. */
  now = performance.now();

  constructor() {
    this.#timer = setInterval(() => this.tick(performance.now()), tickMs);
    this.#timer.unref();
  }

  add(member: Timed): void {
    this.#members.add(member);
  }

  remove(member: Timed): void {
    this.#members.delete(member);
  }

  tick(now: number): void {
    this.now = now;
    for (const member of this.#members) {
      if (member.deadline !== 0 && member.deadline <= now) {
        member.deadline = 0;
        member.expire();
      }
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
