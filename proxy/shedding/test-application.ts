/** Simulated applications and their clients, in simulated time: what the limiter is judged by. */
import { expect } from 'vitest';
import { Shedder, type Waiter } from './shedder.ts';

export type Rng = () => number;

export function seeded(seed: number): Rng {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Events in the order of their time. */
export class Simulation {
  now = 1;
  #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  at(time: number, run: () => void): void {
    const event = { at: time, order: this.#order++, run };
    const events = this.#events;
    let i = events.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!later(events[parent]!, event)) break;
      events[i] = events[parent]!;
      i = parent;
    }
    events[i] = event;
  }

  after(delay: number, run: () => void): void {
    this.at(this.now + delay, run);
  }

  run(until: number): void {
    for (let next = this.#events[0]; next && next.at <= until; next = this.#events[0]) {
      this.#pop();
      this.now = next.at;
      next.run();
    }
    this.now = until;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop()!;
    if (events.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && later(events[child]!, events[child + 1]!)) child++;
      if (!later(last, events[child]!)) break;
      events[i] = events[child]!;
      i = child;
    }
    events[i] = last;
  }
}

function later(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at > b.at || (a.at === b.at && a.order > b.order);
}

/** Does the work of one request and says when it is done. */
export type Application = (done: () => void) => void;

/** So many at a time, the others in a queue; `service` gives milliseconds. */
export function workers(simulation: Simulation, count: number, service: () => number): Application {
  const queue: (() => void)[] = [];
  let first = 0;
  let busy = 0;
  const begin = (done: () => void): void => {
    busy++;
    simulation.after(service(), () => {
      busy--;
      const next = queue[first];
      if (next) {
        first++;
        begin(next);
      }
      done();
    });
  };
  return (done) => (busy < count ? begin(done) : void queue.push(done));
}

/** Any number at a time: it waits for somebody else. */
export function unlimited(simulation: Simulation, service: () => number): Application {
  return (done) => simulation.after(service(), done);
}

/** One processor for all: the more there are, the slower each. `service`: milliseconds of a request alone. */
export function processor(simulation: Simulation, service: () => number): Application {
  const sliceMs = 1;
  const running: { left: number; done: () => void }[] = [];
  const turn = (): void => {
    const one = running.shift();
    if (!one) return;
    const slice = Math.min(sliceMs, one.left);
    simulation.after(slice, () => {
      one.left -= slice;
      if (one.left <= 1e-9) one.done();
      else running.push(one);
      active = running.length > 0;
      if (active) turn();
    });
  };
  let active = false;
  return (done) => {
    running.push({ left: service(), done });
    if (active) return;
    active = true;
    turn();
  };
}

/** What became of the requests that were sent. */
export interface Outcome {
  sent: number;
  shed: number;
  /** Milliseconds from the request to its answer, in the order of the answers; waiting in the proxy included. */
  latencies: number[];
}

/** The way of a request through the shedder, or past it. */
export class Service {
  readonly shedder: Shedder;
  outcome: Outcome = { sent: 0, shed: 0, latencies: [] };
  readonly #simulation: Simulation;
  readonly #application: Application;
  readonly #shedding: boolean;

  constructor(simulation: Simulation, application: Application, shedding = true) {
    this.#simulation = simulation;
    this.#application = application;
    this.#shedding = shedding;
    this.shedder = new Shedder(() => simulation.now);
    const sweep = (): void => {
      this.shedder.expire(simulation.now);
      simulation.after(20, sweep);
    };
    sweep();
  }

  /** Begins to count anew. */
  forget(): void {
    this.outcome = { sent: 0, shed: 0, latencies: [] };
  }

  request(over?: () => void, application = this.#application): void {
    const since = this.#simulation.now;
    const { outcome } = this;
    outcome.sent++;
    const begin = (permit: number): void => {
      if (permit === 0) {
        outcome.shed++;
        over?.();
        return;
      }
      application(() => {
        outcome.latencies.push(this.#simulation.now - since);
        if (this.#shedding) this.shedder.answered(permit);
        over?.();
      });
    };
    if (!this.#shedding) return begin(since);
    const permit = this.shedder.enter();
    if (permit > 0) return begin(permit);
    const waiter: Waiter = { waitsSince: 0, onTurn: begin };
    this.shedder.wait(waiter);
  }
}

/** Requests at random, so many per second in the mean, from now until a time. */
export function offer(
  simulation: Simulation,
  random: Rng,
  rate: (now: number) => number,
  until: number,
  request: () => void,
): void {
  const next = (): void => {
    if (simulation.now >= until) return;
    request();
    simulation.after((-Math.log(1 - random()) * 1000) / rate(simulation.now), next);
  };
  next();
}

export const exponential = (random: Rng, mean: number) => (): number => -Math.log(1 - random()) * mean;

/** The latency below which `share` of them lie, milliseconds. */
export function percentile(latencies: readonly number[], share: number): number {
  const sorted = [...latencies].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** A shedder that is at its limit: everybody has waited long for many windows, and ever more come. */
export function overloaded() {
  const clock = { now: 1 };
  const shedder = new Shedder(() => clock.now);
  const held: number[] = [];
  for (let i = 0; i < 30; i++) {
    held.push(shedder.enter());
    clock.now += 5;
    shedder.answered(held.shift()!);
  }
  while (shedder.limit === Number.POSITIVE_INFINITY) {
    held.push(shedder.enter(), shedder.enter());
    clock.now += 5;
    if (held.length > 40) shedder.answered(held.shift()!);
    expect(clock.now).toBeLessThan(10_000);
  }
  while (held.length > shedder.limit) shedder.leave(held.shift()!);
  while (held.length < shedder.limit) held.push(shedder.enter());
  expect(shedder.enter()).toBe(0);
  return { clock, shedder, held };
}
