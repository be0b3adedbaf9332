/** The only door to the terminal: results to stdout, everything else to stderr; knows what each can show. */

export interface IoStreams {
  stdin: NodeJS.ReadableStream & { isTTY?: boolean };
  stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
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

/** Marks that carry meaning without colour; the second of each where the locale is not UTF-8. */
const markTable = {
  ok: ['✓', 'ok', 32],
  warning: ['‼', '!!', 33],
  error: ['✗', 'x', 31],
  skipped: ['-', '-', 2],
  step: ['•', '*', 0],
} as const;

export type Mark = keyof typeof markTable;

/** Whether a stream may carry colour: its own terminal-ness, then the conventions of no-color.org and clicolors. */
function colorFor(stream: { isTTY?: boolean }, env: IoStreams['env'], wanted: boolean | undefined): boolean {
  if (wanted === false || env.NO_COLOR) return false;
  if (env.FORCE_COLOR ? env.FORCE_COLOR !== '0' : env.CLICOLOR_FORCE && env.CLICOLOR_FORCE !== '0') return true;
  return stream.isTTY === true && env.TERM !== 'dumb';
}

export class Io {
  readonly streams: IoStreams;
  /** What takes longer than so many milliseconds says what it waits for. */
  readonly slowMs: number;
  quiet = false;
  verbose = false;
  debug = false;
  /** A spinner that turns; it must go before a command ends. */
  live: { stop(): unknown } | undefined;
  readonly #gone = new AbortController();
  #stderrGone = false;
  #options: IoOptions = {};

  constructor(streams: IoStreams, slowMs = 1_000) {
    this.streams = streams;
    this.slowMs = slowMs;
    // A reader that goes away (`mesh stat | head -1`) is not an error.
    const onError = (then: () => void) => (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      then();
    };
    streams.stdout.on(
      'error',
      onError(() => this.#gone.abort()),
    );
    streams.stderr.on(
      'error',
      onError(() => {
        this.#stderrGone = true;
      }),
    );
  }

  configure(options: IoOptions): void {
    this.#options = options;
    this.quiet = options.quiet ?? false;
    this.debug = options.debug ?? false;
    this.verbose = this.debug || (options.verbose ?? false);
  }

  get env(): IoStreams['env'] {
    return this.streams.env;
  }

  /** Aborted when stdout's reader is gone: a command that only shows things ends, one that changes things goes on. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  get stdoutIsTerminal(): boolean {
    return this.streams.stdout.isTTY === true && this.env.TERM !== 'dumb';
  }

  /** Whether spinners may turn; in CI, and on a terminal that has no width (a serial console), there is one line per step. */
  get stderrIsTerminal(): boolean {
    const { isTTY, columns = 80 } = this.streams.stderr;
    return isTTY === true && columns > 0 && this.env.TERM !== 'dumb' && !this.env.CI;
  }

  get canPrompt(): boolean {
    return this.#options.input !== false && this.streams.stdin.isTTY === true && this.streams.stdout.isTTY === true;
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

  /** A mark as its stream can show it. */
  mark(mark: Mark, stream: 'stdout' | 'stderr' = 'stderr'): string {
    const [unicode, ascii, color] = markTable[mark];
    const text = this.unicode ? unicode : ascii;
    const colored = stream === 'stdout' ? this.stdoutColor : this.stderrColor;
    return colored && color > 0 ? `\x1b[${color}m${text}\x1b[0m` : text;
  }

  /** A result; goes to stdout as it is. */
  write(text: string): void {
    if (this.gone.aborted) return;
    this.streams.stdout.write(text);
  }

  /** Progress, hints, warnings: stderr, silenced by --quiet. */
  note(text: string): void {
    if (!this.quiet) this.error(text);
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
    if (this.#stderrGone) return;
    this.streams.stderr.write(`${text}\n`);
  }
}
