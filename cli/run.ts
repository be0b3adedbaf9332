/** Runs the program once and answers with its exit code. */
import { type Command, CommanderError } from 'commander';
import { commandFirst, wantsJson } from './arguments.ts';
import type { Context } from './context.ts';
import { CliError, exitCode, UsageError } from './errors.ts';
import { nearest } from './nearest.ts';
import { concise } from './program.ts';
import { renderError } from './render/error.ts';

/** How long an interrupted command may take to clean up after itself. */
const cleanUpMs = 30_000;

/** Commander suggests commands and a command's own flags; global flags and values of flags are added here. */
function withSuggestion(message: string, command: Command): string {
  if (message.includes('Did you mean')) return message;
  const value = /'([^']*)' is invalid.*Allowed choices are (.*)\./s.exec(message);
  const flag = /^error: unknown option '([^'=]*)/.exec(message);
  const flags = command.options.flatMap(({ long }) => long ?? []);
  const close = value ? nearest(value[1]!, value[2]!.split(', ')) : flag ? nearest(flag[1]!, flags) : undefined;
  return close ? `${message} (Did you mean ${close}?)` : message;
}

/** `mesh image load` */
function fullName(command: Command): string {
  return command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();
}

/** Commander's own complaint as ours: one line what is wrong, one how to see help. */
function fromCommander(error: CommanderError, command: Command): UsageError {
  const text = withSuggestion(error.message, command)
    .replace(/^error: /, '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ')
    .replaceAll('(Did you mean', '(did you mean');
  return new UsageError(text.charAt(0).toUpperCase() + text.slice(1), `See \`${fullName(command)} --help\`.`);
}

/** A call that Kubernetes refused or did not answer, in the words of the CLI; anything else as it is. */
async function fromKubernetes(error: unknown, context: Context): Promise<unknown> {
  const kube = await context.connected()?.catch(() => undefined);
  if (!kube || error instanceof CliError) return error;
  return (await import('./connect.ts')).toCliError(error, kube);
}

const interruption = (): CliError => new CliError({ code: 'interrupted', message: 'Interrupted' });

/** Rejects on Ctrl-C: at once, or where there is something to clean up when that has had its time. */
function interrupted(context: Context): Promise<never> {
  const { signal, io } = context;
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(interruption());
  const begin = (): void => {
    // The terminal has written ^C where the cursor was.
    if (io.streams.stderr.isTTY) io.error('');
    if (context.cleanUp === undefined) return stop();
    io.error(`Interrupted; ${context.cleanUp}. Ctrl-C again leaves it as it is.`);
    setTimeout(stop, cleanUpMs).unref();
  };
  if (signal.aborted) begin();
  else signal.addEventListener('abort', begin, { once: true });
  return promise;
}

export async function runProgram(program: Command, context: Context, args: readonly string[]): Promise<number> {
  const { args: ordered, command } = commandFirst(program, args);
  try {
    if (args.length === 0) {
      context.io.write(concise);
      return exitCode.ok;
    }
    const run = program.parseAsync(ordered, { from: 'user' });
    await Promise.race([run, interrupted(context)]);
    return exitCode.ok;
  } catch (error) {
    context.io.live?.stop();
    if (error instanceof CommanderError && error.exitCode === 0) return exitCode.ok;
    // A command that only has commands of its own shows them.
    if (error instanceof CommanderError && error.code === 'commander.help') {
      command.outputHelp();
      return exitCode.ok;
    }
    // Not parsed, yet meant.
    if (error instanceof CommanderError) context.io.configure({ color: !args.includes('--no-color') });
    const known = context.signal.aborted
      ? interruption()
      : error instanceof CommanderError
        ? fromCommander(error, command)
        : await fromKubernetes(error, context);
    renderError(context.io, known, wantsJson(args));
    return known instanceof CliError ? known.exit : exitCode.failure;
  }
}
