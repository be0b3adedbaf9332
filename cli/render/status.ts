/** Steps of a long command: a spinner on a terminal, one plain line per step elsewhere; always on stderr. */
import type { Ora } from 'ora';
import type { Io } from '../io.ts';

export class Status {
  readonly #io: Io;
  #spinner: Ora | undefined;
  #step = '';

  constructor(io: Io) {
    this.#io = io;
  }

  /** Ends the step before it, if there is one. */
  async start(step: string): Promise<void> {
    this.done();
    this.#step = step;
    if (!this.#io.stderrIsTerminal || this.#io.quiet)
      return this.#io.note(` ${this.#io.unicode ? '•' : '*'} ${step} ...`);
    const { default: ora } = await import('ora');
    const stream = this.#io.streams.stderr as NodeJS.WriteStream;
    this.#spinner = ora({ text: step, stream, indent: 1, discardStdin: false }).start();
  }

  /** What the step waits for. */
  waiting(on: string): void {
    if (this.#spinner) this.#spinner.text = `${this.#step} (${on})`;
    else if (this.#step) this.#io.note(`   ${this.#step}: ${on}`);
  }

  done(text: string = this.#step): void {
    this.#end(this.#io.unicode ? '✓' : 'ok', text);
  }

  fail(text: string = this.#step): void {
    this.#end(this.#io.unicode ? '✗' : 'x', text);
  }

  #end(mark: string, text: string): void {
    if (!this.#step) return;
    this.#step = '';
    if (this.#spinner) this.#spinner.stopAndPersist({ symbol: mark, text });
    else this.#io.note(` ${mark} ${text}`);
    this.#spinner = undefined;
  }
}
