/** How many retries a target bears: a share of its requests in a sliding window, and a few in any case. */

const slots = 10;
const slotMs = 1_000;
/** Retries to requests. */
const share = 0.2;
/** Retries in a window however few requests there are. */
const floor = 10;

/** Counts of the last ten seconds; an old slot is used again. Its times are coarse: a tick is half a slot. */
export class RetryBudget {
  readonly #requests = new Float64Array(slots);
  readonly #retries = new Float64Array(slots);
  #slot = 0;

  /** A request, its retries not counted. `now`: milliseconds, monotonic. */
  request(now: number): void {
    this.#advance(now);
    this.#requests[this.#slot % slots]!++;
  }

  /** Whether one more retry is in the budget; it is then taken out of it. */
  take(now: number): boolean {
    this.#advance(now);
    if (sum(this.#retries) + 1 > sum(this.#requests) * share + floor) return false;
    this.#retries[this.#slot % slots]!++;
    return true;
  }

  #advance(now: number): void {
    const slot = Math.floor(now / slotMs);
    if (slot <= this.#slot) return;
    const gone = Math.min(slots, slot - this.#slot);
    for (let i = 1; i <= gone; i++) {
      this.#requests[(slot - gone + i) % slots] = 0;
      this.#retries[(slot - gone + i) % slots] = 0;
    }
    this.#slot = slot;
  }
}

function sum(counts: Float64Array): number {
  let all = 0;
  for (const count of counts) all += count;
  return all;
}
