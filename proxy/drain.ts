/** The connections of this proxy: bounded, counted, and brought to an end in order. */

export interface Drainable {
  /** Finishes what is in flight, then ends. */
  drain(): void;
  destroy(): void;
}

export class ConnectionSet {
  readonly #members = new Set<Drainable>();
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
    for (const member of [...this.#members]) member.drain();
    if (this.#members.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const member of [...this.#members]) member.destroy();
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
export class Place {
  readonly #connections: ConnectionSet;
  #connection: Drainable | undefined;
  #over = false;

  constructor(connections: ConnectionSet) {
    this.#connections = connections;
  }

  take(connection: Drainable): void {
    if (this.#over) return;
    this.#connection = connection;
    this.#connections.add(connection);
  }

  leave(): void {
    this.#over = true;
    if (this.#connection) this.#connections.delete(this.#connection);
  }

  drain(): void {
    this.#connection?.drain();
  }
}
