/** The connections of this proxy: bounded, counted, and brought to an end in order. */
import { type Listed, Roster } from './net/roster.ts';

export interface Drainable extends Listed {
  /** Finishes what is in flight, then ends. */
  drain(): void;
  destroy(): void;
}

export class ConnectionSet {
  readonly #members = new Roster<Drainable>();
  #onEmpty: (() => void) | undefined;

  get size(): number {
    return this.#members.size;
  }

  add(member: Drainable): void {
    this.#members.add(member);
  }

  delete(member: Drainable): void {
    this.#members.delete(member);
    if (this.#members.size === 0) this.#onEmpty?.();
  }

  /** Resolves once all are over, those begun meanwhile included: the application may need them to stop. Those that last longer than the grace period are cut. */
  drain(graceMs: number): Promise<void> {
    this.#members.each((member) => member.drain());
    if (this.#members.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#members.each((member) => member.destroy());
        resolve();
      }, graceMs);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** A connection's place among them: known before the connection is made, which may be over before it is taken in. */
export class Place implements Drainable {
  readonly #connections: ConnectionSet;
  #connection: Pick<Drainable, 'drain' | 'destroy'> | undefined;
  #over = false;

  constructor(connections: ConnectionSet) {
    this.#connections = connections;
  }

  take(connection: Pick<Drainable, 'drain' | 'destroy'>): void {
    if (this.#over) return;
    this.#connection = connection;
    this.#connections.add(this);
  }

  leave(): void {
    this.#over = true;
    if (this.#connection) this.#connections.delete(this);
  }

  drain(): void {
    this.#connection?.drain();
  }

  destroy(): void {
    this.#connection?.destroy();
  }
}
