/** The command line before it is parsed: the command goes first, so that flags may stand anywhere. */
import type { Command } from 'commander';

/** Flags, of any command, that take the word behind them. */
function valueFlags(program: Command): Set<string> {
  const options = [program, ...program.commands].flatMap((command) => command.options);
  return new Set(
    options.filter((one) => one.required).flatMap((one) => [one.short, one.long].filter((name) => !!name)) as string[],
  );
}

/** The arguments with the command's name in front; as they are where none is found. */
export function commandFirst(program: Command, args: readonly string[]): string[] {
  const takesValue = valueFlags(program);
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === '--') break;
    if (takesValue.has(arg)) index++;
    else if (!arg.startsWith('-') || arg === '-') {
      return [arg, ...args.slice(0, index), ...args.slice(index + 1)];
    }
  }
  return [...args];
}

/** Whether `-o json` was asked for, also where the command line could not be parsed. */
export function wantsJson(args: readonly string[]): boolean {
  return args.some(
    (arg, index) =>
      arg === '-ojson' ||
      arg === '-o=json' ||
      arg === '--output=json' ||
      ((arg === '-o' || arg === '--output') && args[index + 1] === 'json'),
  );
}
