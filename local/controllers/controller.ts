/** The loop every controller is: a set of keys that changed, worked off one after another, retried with back-off. */
import type { KubeObject } from '../../kube/types.ts';
import { Conflict, NotFound } from '../objects.ts';

/** `namespace/name` of an object; the namespace is empty for cluster-wide ones. */
export type Key = string;

export function keyOf(object: KubeObject): Key {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

export function splitKey(key: Key): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

const firstRetryMs = 50;
const lastRetryMs = 10_000;

/**
 * Calls `reconcile` for every key added, at most once at a time per queue; a key added while it is worked on is
 * worked on again. A conflict or a vanished object is tried again at once, any other failure is logged and retried.
 */
export class WorkQueue {
  readonly #name: string;
  readonly #reconcile: (key: Key) => Promise<void>;
  readonly #log: (message: string) => void;
  readonly #waiting = new Set<Key>();
  readonly #failures = new Map<Key, number>();
  readonly #timers = new Map<Key, { timer: NodeJS.Timeout; due: number }>();
  #running = false;
  #stopped = false;

  constructor(name: string, reconcile: (key: Key) => Promise<void>, log: (message: string) => void) {
    this.#name = name;
    this.#reconcile = reconcile;
    this.#log = log;
  }

  add(key: Key): void {
    if (this.#stopped) return;
    this.#waiting.add(key);
    if (!this.#running) {
      this.#running = true;
      setImmediate(() => void this.#work());
    }
  }

  /** Adds the key when the time (milliseconds from now) has come; the earlier of two times wins. */
  addAfter(key: Key, milliseconds: number): void {
    const due = Date.now() + milliseconds;
    const known = this.#timers.get(key);
    if (this.#stopped || (known && known.due <= due)) return;
    clearTimeout(known?.timer);
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, milliseconds);
    this.#timers.set(key, { timer, due });
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting.clear();
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #work(): Promise<void> {
    for (const key of this.#waiting) {
      this.#waiting.delete(key);
      try {
        await this.#reconcile(key);
        this.#failures.delete(key);
      } catch (error) {
        const failures = (this.#failures.get(key) ?? 0) + 1;
        this.#failures.set(key, failures);
        if (!(error instanceof Conflict || error instanceof NotFound) || failures > 5) {
          this.#log(`${this.#name} ${key}: ${(error as Error).message}; will be tried again`);
        }
        this.addAfter(key, Math.min(firstRetryMs * 2 ** (failures - 1), lastRetryMs));
      }
      if (this.#stopped) break;
    }
    this.#running = false;
    if (this.#waiting.size > 0 && !this.#stopped) {
      this.#running = true;
      setImmediate(() => void this.#work());
    }
  }
}
