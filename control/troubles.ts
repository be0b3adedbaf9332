/** What the control plane cannot do at the moment, for whoever asks: `mesh check` shows it. */
export class Troubles {
  readonly #why = new Map<string, string>();

  /** `why` undefined: it works again. True where this is news. */
  set(what: string, why: string | undefined): boolean {
    const before = this.#why.get(what);
    if (why === undefined) this.#why.delete(what);
    else this.#why.set(what, why);
    return before !== why;
  }

  list(): string[] {
    return [...this.#why].map(([what, why]) => `${what}: ${why}`);
  }
}
