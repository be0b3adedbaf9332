/** Runs the program once and answers with its exit code. */
import { type Command, CommanderError } from 'commander';
import type { Context } from './context.ts';
import { CliError, exitCode } from './errors.ts';
import { nearest } from './nearest.ts';
import { concise } from './program.ts';
import { renderError } from './render/error.ts';

/** Whether `-o json` was asked for, also where the command line could not be parsed. */
function wantsJson(args: readonly string[]): boolean {
  return args.some(
    (arg, index) =>
      arg === '-ojson' ||
      arg === '-o=json' ||
      arg === '--output=json' ||
      ((arg === '-o' || arg === '--output') && args[index + 1] === 'json'),
  );
}

/** Commander suggests commands and flags; for the values of a flag it lists them, and the nearest one is added here. */
function withSuggestion(message: string): string {
  const match = /'([^']*)' is invalid.*Allowed choices are (.*)\./s.exec(message);
  const close = match && nearest(match[1]!, match[2]!.split(', '));
  return close ? `${message} (Did you mean ${close}?)` : message;
}

/** Commander's own complaint as ours: one line what is wrong, one how to see help. */
function fromCommander(error: CommanderError): CliError {
  const [first = '', ...rest] = withSuggestion(error.message)
    .replace(/^error: /, '')
    .split('\n');
  const suggestion = rest
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ');
  return new CliError({
    code: 'usage',
    message: suggestion === '' ? first : `${first} ${suggestion}`,
    fix: 'run the command with --help to see what it takes',
    exit: exitCode.usage,
    cause: error,
  });
}

/** A call that Kubernetes refused or did not answer, in the words of the CLI; anything else as it is. */
async function fromKubernetes(error: unknown, context: Context): Promise<unknown> {
  const kube = await context.connected()?.catch(() => undefined);
  if (!kube || error instanceof CliError) return error;
  return (await import('./connect.ts')).toCliError(error, kube);
}

export async function runProgram(program: Command, context: Context, args: readonly string[]): Promise<number> {
  try {
    if (args.length === 0) {
      context.io.write(concise);
      return exitCode.ok;
    }
    // A command that only has commands of its own shows them.
    const group = args.length === 1 ? program.commands.find((one) => one.name() === args[0]) : undefined;
    if (group && group.commands.length > 0) {
      group.outputHelp();
      return exitCode.ok;
    }
    await program.parseAsync(args, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : exitCode.ok;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCode.ok;
    if (context.signal.aborted) return exitCode.interrupted;
    const known = error instanceof CommanderError ? fromCommander(error) : await fromKubernetes(error, context);
    renderError(context.io, known, wantsJson(args));
    return known instanceof CliError ? known.exit : exitCode.failure;
  }
}
