const clock = () => performance.now();

/** So many at once, and so many a second: what a peer may ask for. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  readonly #now: () => number;
  #tokens: number;
  #at: number;

  /** `now`: milliseconds, monotonic. */
  constructor(rate: number, burst: number, now: () => number = clock) {
    this.#rate = rate;
    this.#burst = burst;
    this.#now = now;
    this.#tokens = burst;
    this.#at = now();
  }

  /** So many more, for something of worth. */
  give(count: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + count);
  }

  /** Whether there was one. The clock is looked at only when they have run out. */
  take(): boolean {
    if (this.#tokens < 1) {
      const now = this.#now();
      this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#rate);
      this.#at = now;
      if (this.#tokens < 1) return false;
    }
    this.#tokens--;
    return true;
  }
}
