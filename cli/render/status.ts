/** Steps of a long command: a spinner on a terminal, plain lines elsewhere; always on stderr. */
import type { Ora } from 'ora';
import type { Io } from '../io.ts';

/** A spinner is for a terminal that somebody watches. */
function spins({ stderrIsTerminal, quiet, env }: Io): boolean {
  return stderrIsTerminal && !quiet && !env.CI && env.TERM !== 'dumb';
}

export class Status {
  readonly #io: Io;
  #spinner: Ora | undefined;
  #step = '';
  #said = '';

  constructor(io: Io) {
    this.#io = io;
  }

  /** Ends the step before it, if there is one. `step` is what goes on: "Applying 9 objects". */
  async start(step: string): Promise<void> {
    this.done();
    this.#step = step;
    const io = this.#io;
    if (!spins(io)) return io.note(` ${io.mark('step')} ${step} ...`);
    const { default: ora } = await import('ora');
    // It may have ended before the spinner was loaded.
    if (this.#step !== step) return;
    this.#spinner = ora({
      text: `${step} ...`,
      stream: io.streams.stderr as NodeJS.WriteStream,
      indent: 1,
      discardStdin: false,
      // Decided above: ora would look at the environment of this process.
      isEnabled: true,
      spinner: io.unicode ? 'dots' : 'line',
      color: io.stderrColor ? 'cyan' : false,
    }).start();
    io.live = this.#spinner;
  }

  /** Where the step is; for those who watch it only. */
  progress(at: string): void {
    if (this.#spinner) this.#spinner.text = `${this.#step} (${at})`;
  }

  /** What the step waits for now; said again only when it changes. */
  waiting(on: string): void {
    if (!this.#step || on === this.#said) return;
    this.#said = on;
    if (this.#spinner) this.#spinner.text = `${this.#step} (${on})`;
    else this.#io.note(`   ${this.#step}: ${on}`);
  }

  /** `text` is what is done now: "Applied 9 objects". */
  done(text: string = this.#step): void {
    this.#end(this.#io.mark('ok'), text);
  }

  fail(text: string = this.#step): void {
    this.#end(this.#io.mark('error'), text);
  }

  /** Ends the step without a line about it. */
  clear(): void {
    this.#spinner?.stop();
    this.#forget();
  }

  #end(mark: string, text: string): void {
    if (!this.#step) return;
    if (this.#spinner) this.#spinner.stopAndPersist({ symbol: mark, text });
    else this.#io.note(` ${mark} ${text}`);
    this.#forget();
  }

  #forget(): void {
    this.#io.live = undefined;
    this.#spinner = undefined;
    this.#step = '';
    this.#said = '';
  }
}

/** A step that shows only where it takes more than `io.slowMs`, and leaves no line of its own. */
export class SlowStatus {
  readonly #slowMs: number;
  readonly #status: Status;
  #timer: NodeJS.Timeout | undefined;
  #on: string | undefined;

  constructor(io: Io) {
    this.#slowMs = io.slowMs;
    this.#status = new Status(io);
  }

  begin(step: string): void {
    this.end();
    this.#timer = setTimeout(() => {
      // Starting one loads the spinner; what it waits for is shown as soon as it is there.
      void this.#status.start(step).then(() => this.#on !== undefined && this.#status.waiting(this.#on));
    }, this.#slowMs);
  }

  waiting(on: string): void {
    this.#on = on;
    this.#status.waiting(on);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#on = undefined;
    this.#status.clear();
  }
}

/** The outcome of work; where it takes more than `io.slowMs`, what is waited for is shown meanwhile. */
export async function sayIfSlow<T>(io: Io, what: string, work: Promise<T>): Promise<T> {
  const status = new SlowStatus(io);
  status.begin(what);
  try {
    return await work;
  } finally {
    status.end();
  }
}
