/** Errors of the command line: what, why, fix, where to read; and the exit codes. */

export const exitCode = {
  ok: 0,
  failure: 1,
  usage: 2,
  checksFailed: 3,
  unreachable: 4,
  timeout: 5,
  interrupted: 130,
} as const;

export const docsBase = 'https://mesh.dev/docs';

export interface CliErrorOptions {
  /** Stable, kebab-case; an anchor of docs/errors.md. */
  code: string;
  /** What went wrong, naming the object. */
  message: string;
  /** Why, where it is known. */
  cause?: unknown;
  /** What to do. */
  fix?: string;
  exit?: number;
}

/** An error a user can act on. Anything else that is thrown is a defect of the CLI. */
export class CliError extends Error {
  readonly code: string;
  readonly fix: string | undefined;
  readonly exit: number;

  constructor(options: CliErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliError';
    this.code = options.code;
    this.fix = options.fix;
    this.exit = options.exit ?? exitCode.failure;
  }

  get docs(): string {
    return `${docsBase}/errors#${this.code}`;
  }
}

/** Command line used wrongly: exit 2, and how to see help. */
export class UsageError extends CliError {
  constructor(message: string, fix?: string) {
    super({ code: 'usage', message, exit: exitCode.usage, ...(fix === undefined ? {} : { fix }) });
    this.name = 'UsageError';
  }
}
