/**
 * Requests that an application has now, without those it has had for long: long polls, streams that begin late and
 * whatever else waits for an event takes none of its workers. Counted in two generations, one after the other, so that
 * a permit is a plain number: the time it was given.
 */

export class InFlight {
  #young = 0;
  #old = 0;
  #youngSince = 0;
  #oldSince = 0;

  get count(): number {
    return this.#young + this.#old;
  }

  /** Leaves out of the count what has lasted long: `longMs` at least, about twice that at most. To be called before `enter`. */
  age(now: number, longMs: number): void {
    const passed = now - this.#youngSince;
    if (passed < longMs) return;
    const lately = passed < 2 * longMs;
    this.#old = lately ? this.#young : 0;
    this.#oldSince = lately ? this.#youngSince : now;
    this.#young = 0;
    this.#youngSince = now;
  }

  enter(): void {
    this.#young++;
  }

  /** `enteredAt`: what `now` of `age` was. False where it was counted no more. */
  leave(enteredAt: number): boolean {
    if (enteredAt >= this.#youngSince) this.#young--;
    else if (enteredAt >= this.#oldSince) this.#old--;
    else return false;
    return true;
  }
}
