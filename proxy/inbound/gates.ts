/** The gates of a pod, one for each port that is spoken HTTP to. */
import type { TimerWheel } from '../net/timer-wheel.ts';
import { Shedder } from '../shedding/shedder.ts';
import { Gate } from './gate.ts';

/** Ports of one's own; further ones share the last. */
const maxGates = 64;

export class Gates {
  readonly #gates = new Map<number, Gate>();
  readonly #timers: TimerWheel;
  readonly #shedding: boolean;

  constructor(timers: TimerWheel, shedding: boolean) {
    this.#timers = timers;
    this.#shedding = shedding;
  }

  /** May be gone through again and again. */
  get all(): Iterable<Gate> {
    const gates = this.#gates;
    return { [Symbol.iterator]: () => gates.values() };
  }

  of(port: number): Gate {
    const known = this.#gates.get(port);
    if (known) return known;
    if (this.#gates.size >= maxGates) return [...this.#gates.values()].at(-1)!;
    const gate = new Gate(port, this.#shedding ? new Shedder(() => performance.now()) : undefined, this.#timers);
    this.#gates.set(port, gate);
    return gate;
  }
}
