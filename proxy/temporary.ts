/** A setting that may differ for a time from what the proxy was started with. */
import type { SettingState } from '../protocol/diagnostics.ts';

export class Temporary<T extends string> {
  readonly #usual: T;
  readonly #apply: (value: T) => void;
  #value: T;
  #until: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `apply` is told of every change, not of the usual value to begin with. */
  constructor(usual: T, apply: (value: T) => void) {
    this.#usual = usual;
    this.#value = usual;
    this.#apply = apply;
  }

  set(value: T, forMs: number): void {
    clearTimeout(this.#timer);
    this.#until = Date.now() + forMs;
    this.#timer = setTimeout(() => {
      this.#until = undefined;
      this.#change(this.#usual);
    }, forMs).unref();
    this.#change(value);
  }

  get state(): SettingState {
    return { value: this.#value, until: this.#until === undefined ? null : new Date(this.#until).toISOString() };
  }

  #change(value: T): void {
    this.#value = value;
    this.#apply(value);
  }
}
