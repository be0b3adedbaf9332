/**
 * Power of two choices on peak-EWMA latency × (pending + 1) (Mitzenmacher 2001; Finagle's p2cPeakEwma). Endpoints
 * whose connections fail in a row are left out for an exponentially growing probation, never more than half of them.
 */
import type { Endpoint } from '../../protocol/discovery.ts';
import { EndpointState } from './endpoint-state.ts';
import { SlowStart } from './slow-start.ts';

const failuresToEject = 5;
const firstProbationMs = 1_000;
const maxProbationMs = 60_000;
/** As long as the news of an endpoint's end may take. */
const failedLatelyMs = 5_000;

export interface BalancerOptions<T> {
  /** Makes what is kept per endpoint; asked again when the endpoint's workload or identity changes. */
  attach: (endpoint: Endpoint) => T;
  /** 0 ≤ x < 1. */
  random?: () => number;
  /** Milliseconds, monotonic. */
  now?: () => number;
}

export class Balancer<T> {
  readonly #attach: (endpoint: Endpoint) => T;
  readonly #random: () => number;
  readonly #now: () => number;
  #all: EndpointState<T>[] = [];
  #usable: EndpointState<T>[] = [];
  /** When the first probation ends; Infinity without one. */
  #nextReturn = Number.POSITIVE_INFINITY;
  readonly #slowStart = new SlowStart<T>();

  constructor(options: BalancerOptions<T>) {
    this.#attach = options.attach;
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#all.length;
  }

  get endpoints(): readonly EndpointState<T>[] {
    return this.#all;
  }

  /** Takes a new list. Endpoints that stay keep their state; what is in flight at those that go goes on. */
  update(endpoints: readonly Endpoint[]): void {
    const now = this.#now();
    const before = new Map(this.#all.map((state) => [state.endpoint.address, state]));
    const mean =
      this.#all.length > 0
        ? this.#all.reduce((sum, state) => sum + state.latency(now), 0) / this.#all.length
        : undefined;
    const next = new Map<string, EndpointState<T>>();
    for (const endpoint of endpoints) {
      const state = before.get(endpoint.address);
      if (!state || state.endpoint.identity !== endpoint.identity || state.endpoint.pod !== endpoint.pod) {
        // Another pod behind the same address is another endpoint.
        next.set(endpoint.address, new EndpointState(endpoint, this.#attach(endpoint), mean, now));
      } else {
        if (!sameWorkload(state.endpoint, endpoint)) state.data = this.#attach(endpoint);
        state.endpoint = endpoint;
        next.set(endpoint.address, state);
      }
    }
    this.#all = [...next.values()];
    // A smaller list may leave more than half ejected: those that come back first come back now.
    const ejected = this.#all.filter((state) => state.ejectedUntil > 0).sort((a, b) => a.ejectedUntil - b.ejectedUntil);
    for (const state of ejected.slice(0, Math.max(0, ejected.length - Math.floor(this.#all.length / 2)))) {
      release(state);
    }
    this.#refresh(now);
  }

  /** The endpoint for the next try; another than `avoid` where there is one. undefined where there is none at all. */
  pick(avoid?: Endpoint): EndpointState<T> | undefined {
    const now = this.#now();
    if (now >= this.#nextReturn) this.#refresh(now);
    const usable = this.#usable;
    const count = usable.length;
    if (avoid) return this.#another(avoid, now);
    if (count <= 1) return usable[0];
    const chosen = this.#betterOf(usable, now);
    const instead = this.#slowStart.instead(chosen, usable, this.#random, now);
    return instead ? this.#betterOf(instead, now) : chosen;
  }

  /** Of two taken at random. */
  #betterOf(states: readonly EndpointState<T>[], now: number): EndpointState<T> {
    const count = states.length;
    if (count === 1) return states[0]!;
    const first = Math.floor(this.#random() * count);
    let second = Math.floor(this.#random() * (count - 1));
    if (second >= first) second++;
    const a = states[first]!;
    const b = states[second]!;
    return b.load(now) < a.load(now) ? b : a;
  }

  /**
   * For a retry, which is rare: the least loaded of those with the fewest failures in a row, over all of them. While
   * several endpoints go at once two choices might both be dead, and one that ends still answers on connections it has:
   * its successes do not make it as good as one that has not failed lately.
   */
  #another(avoid: Endpoint, now: number): EndpointState<T> | undefined {
    let best: EndpointState<T> | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (const state of this.#all) {
      if (state.endpoint.address === avoid.address) continue;
      const lately = now - state.failedAt < failedLatelyMs ? 0.5 : 0;
      const rank = state.ejectedUntil > 0 ? failuresToEject : state.failures + lately;
      if (!best || rank < bestRank || (rank === bestRank && state.load(now) < best.load(now))) {
        best = state;
        bestRank = rank;
      }
    }
    return best ?? this.#all[0];
  }

  /** A connection or response came from it; latency in milliseconds, undefined where it says nothing. */
  succeeded(state: EndpointState<T>, latency: number | undefined): void {
    state.failures = 0;
    if (state.ejectedUntil > 0 && !state.resting) {
      release(state);
      this.#refresh(this.#now());
    }
    state.ejections = 0;
    if (latency !== undefined) state.observe(latency, this.#now());
  }

  /** It turned a request away unseen, for it is overloaded: others get more for a while. */
  refused(state: EndpointState<T>): void {
    state.refused(this.#now());
  }

  /** No connection could be made to it, or its responses count and this one failed. Whether that ejects it. */
  failed(state: EndpointState<T>): boolean {
    state.failures++;
    state.failedAt = this.#now();
    if (state.failures < failuresToEject || state.ejectedUntil > 0) return false;
    const probation = Math.min(maxProbationMs, firstProbationMs * 2 ** state.ejections);
    if (!this.#leaveOut(state, probation * (0.75 + this.#random() * 0.5))) return false;
    state.ejections++;
    return true;
  }

  /** It asked to be left alone for so many milliseconds, and is, unless half of the endpoints are left out already. */
  rest(state: EndpointState<T>, ms: number): void {
    if (state.ejectedUntil > 0) state.ejectedUntil = Math.max(state.ejectedUntil, this.#now() + ms);
    else if (!this.#leaveOut(state, ms)) return;
    state.resting = true;
  }

  #leaveOut(state: EndpointState<T>, ms: number): boolean {
    const out = this.#all.length - this.#usable.length;
    if (!this.#all.includes(state) || out + 1 > Math.floor(this.#all.length / 2)) return false;
    const now = this.#now();
    state.ejectedUntil = now + ms;
    this.#refresh(now);
    return true;
  }

  #refresh(now: number): void {
    this.#nextReturn = Number.POSITIVE_INFINITY;
    for (const state of this.#all) {
      if (state.ejectedUntil === 0) continue;
      if (state.ejectedUntil <= now) {
        release(state);
        // On probation: the next failure ejects it again, for longer.
        state.failures = failuresToEject - 1;
      } else this.#nextReturn = Math.min(this.#nextReturn, state.ejectedUntil);
    }
    this.#usable = this.#all.filter((state) => state.ejectedUntil === 0);
    this.#slowStart.renew(this.#usable, now);
  }
}

function release<T>(state: EndpointState<T>): void {
  state.ejectedUntil = 0;
  state.resting = false;
  state.failures = 0;
}

function sameWorkload(a: Endpoint, b: Endpoint): boolean {
  const [x, y] = [a.workload, b.workload];
  return x?.namespace === y?.namespace && x?.kind === y?.kind && x?.name === y?.name;
}
