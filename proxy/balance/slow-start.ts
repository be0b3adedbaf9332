/**
 * Eases new endpoints in: at first a tenth of their share, all of it after twenty seconds, since caches are cold and code
 * is not compiled yet. What they are spared the others carry, so it has a bound: no endpoint in use gets more than half
 * again its share. Where most endpoints are new, as in a roll, there is little to spare, and where all are, nothing.
 */
import type { EndpointState } from './endpoint-state.ts';

const windowMs = 20_000;
const firstShare = 0.1;
const maxExtra = 0.5;
/** Shares are worked out anew after so long, milliseconds: not for each request. */
const renewMs = 250;

/** Of the share it will have, 0 to 1. */
function shareAt(ageMs: number): number {
  return ageMs >= windowMs ? 1 : firstShare + (1 - firstShare) * (ageMs / windowMs);
}

export class SlowStart<T> {
  /** Usable endpoints that are not new. */
  #settled: EndpointState<T>[] = [];
  /** How much of what is asked to be spared can be, 0 to 1. */
  #spared = 0;
  #renewAt = Number.POSITIVE_INFINITY;

  /** To be called when the list of usable endpoints changes. */
  renew(usable: readonly EndpointState<T>[], now: number): void {
    this.#settled = usable.filter((state) => now - state.addedAt >= windowMs);
    let asked = 0;
    for (const state of usable) asked += 1 - shareAt(now - state.addedAt);
    this.#spared = asked > 0 ? Math.min(1, (maxExtra * this.#settled.length) / asked) : 0;
    this.#renewAt = asked > 0 ? now + renewMs : Number.POSITIVE_INFINITY;
  }

  /** Those one of which takes the request in place of `chosen`; undefined where `chosen` is to have it. */
  instead(
    chosen: EndpointState<T>,
    usable: readonly EndpointState<T>[],
    random: () => number,
    now: number,
  ): readonly EndpointState<T>[] | undefined {
    if (now >= this.#renewAt) this.renew(usable, now);
    if (this.#spared === 0) return undefined;
    const spared = this.#spared * (1 - shareAt(now - chosen.addedAt));
    return spared > 0 && random() < spared ? this.#settled : undefined;
  }
}
