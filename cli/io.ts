/** The only door to the terminal: results to stdout, everything else to stderr; knows what each can show. */

export interface IoStreams {
  stdin: NodeJS.ReadableStream & { isTTY?: boolean };
  stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  env: Record<string, string | undefined>;
}

export interface IoOptions {
  quiet?: boolean;
  verbose?: boolean;
  debug?: boolean;
  /** False for `--no-color`. */
  color?: boolean;
  /** False for `--no-input`. */
  input?: boolean;
}

/** Whether a stream may carry colour: its own terminal-ness, then the conventions of no-color.org and clicolors. */
function colorFor(stream: { isTTY?: boolean }, env: IoStreams['env'], wanted: boolean | undefined): boolean {
  if (wanted === false || env.NO_COLOR) return false;
  if (env.FORCE_COLOR ? env.FORCE_COLOR !== '0' : env.CLICOLOR_FORCE && env.CLICOLOR_FORCE !== '0') return true;
  return stream.isTTY === true && env.TERM !== 'dumb';
}

export class Io {
  readonly streams: IoStreams;
  quiet = false;
  verbose = false;
  debug = false;
  #options: IoOptions = {};

  constructor(streams: IoStreams) {
    this.streams = streams;
    // A reader that goes away (`mesh stat | head -1`) is not an error.
    for (const stream of [streams.stdout, streams.stderr]) {
      stream.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EPIPE') throw error;
        this.closed = true;
      });
    }
  }

  /** The reader of stdout or stderr is gone; long-running commands stop. */
  closed = false;

  configure(options: IoOptions): void {
    this.#options = options;
    this.quiet = options.quiet ?? false;
    this.debug = options.debug ?? false;
    this.verbose = this.debug || (options.verbose ?? false);
  }

  get env(): IoStreams['env'] {
    return this.streams.env;
  }

  get stdoutIsTerminal(): boolean {
    return this.streams.stdout.isTTY === true;
  }

  get stderrIsTerminal(): boolean {
    return this.streams.stderr.isTTY === true && this.env.TERM !== 'dumb' && !this.env.CI;
  }

  get canPrompt(): boolean {
    return this.#options.input !== false && this.streams.stdin.isTTY === true && this.stdoutIsTerminal;
  }

  get stdoutColor(): boolean {
    return colorFor(this.streams.stdout, this.env, this.#options.color);
  }

  get stderrColor(): boolean {
    return colorFor(this.streams.stderr, this.env, this.#options.color);
  }

  /** False where the locale cannot show ✓ and ✗; marks then fall back to ASCII. */
  get unicode(): boolean {
    const locale = this.env.LC_ALL || this.env.LC_CTYPE || this.env.LANG || '';
    return /utf-?8/i.test(locale);
  }

  /** A result; goes to stdout as it is. */
  write(text: string): void {
    if (!this.closed) this.streams.stdout.write(text);
  }

  /** Progress, hints, warnings: stderr, silenced by --quiet. */
  note(text: string): void {
    if (!this.quiet && !this.closed) this.streams.stderr.write(`${text}\n`);
  }

  /** Shown with --verbose only. */
  detail(text: string): void {
    if (this.verbose) this.note(text);
  }

  /** The next command to try; only a person at a terminal sees it. */
  hint(text: string): void {
    if (this.stderrIsTerminal && this.stdoutIsTerminal) this.note(text);
  }

  /** An error; --quiet does not silence it. */
  error(text: string): void {
    this.streams.stderr.write(`${text}\n`);
  }
}
