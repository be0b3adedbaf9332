/** The latest errors of the data path, for `mesh diagnostics`: those of one code with one peer are one entry. */
import type { RecentError } from '../../protocol/diagnostics.ts';
import type { ProxyError } from '../error.ts';

const maxEntries = 64;
const maxMessage = 300;

type Direction = RecentError['direction'];

interface Entry {
  at: number;
  direction: Direction;
  code: string;
  peer: string;
  message: string;
  count: number;
}

export class RecentErrors {
  /** By direction, code and peer; the latest stands last. */
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;

  /** `now`: epoch milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  add(direction: Direction, code: string, peer: string, message: string): void {
    const key = `${direction} ${code} ${peer}`;
    const entry = this.#entries.get(key) ?? { at: 0, direction, code, peer, message: '', count: 0 };
    entry.at = this.#now();
    entry.message = message.slice(0, maxMessage);
    entry.count++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > maxEntries) this.#entries.delete(this.#entries.keys().next().value!);
  }

  /** One that a request or connection ended with; what clients do themselves (going away) is no error to look for. */
  failed(direction: Direction, peer: string, error: ProxyError): void {
    if (error.source !== 'client') this.add(direction, error.code, peer, error.message);
  }

  /** The latest first. */
  list(): RecentError[] {
    return [...this.#entries.values()]
      .reverse()
      .map(({ at, ...entry }) => ({ time: new Date(at).toISOString(), ...entry }));
  }
}
