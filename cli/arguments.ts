/** The command line before it is parsed: the command goes first, so that flags may stand anywhere. */
import type { Command } from 'commander';

/** The command of that name, or of that other name, inside a command. */
export function innerCommand(command: Command, name: string): Command | undefined {
  return command.commands.find((one) => one.name() === name || one.aliases().includes(name));
}

/** A command, and those inside it, at every depth. */
export function withInner(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withInner)];
}

/** Flags, of any command, that take the word behind them. */
function valueFlags(program: Command): Set<string> {
  const options = withInner(program).flatMap((command) => command.options);
  return new Set(
    options.filter((one) => one.required).flatMap((one) => [one.short, one.long].filter((name) => !!name)) as string[],
  );
}

export interface Ordered {
  /** The arguments with the names of the command in front; as they are where none is found. */
  args: string[];
  /** The innermost command that is named; the program itself where none is. */
  command: Command;
}

export function commandFirst(program: Command, args: readonly string[]): Ordered {
  const takesValue = valueFlags(program);
  const names: string[] = [];
  const flags: string[] = [];
  let command = program;
  let index = 0;
  for (; index < args.length && command.commands.length > 0; index++) {
    const arg = args[index]!;
    if (arg === '--') break;
    if (arg.startsWith('-') && arg !== '-') {
      flags.push(arg);
      if (takesValue.has(arg) && index + 1 < args.length) flags.push(args[++index]!);
      continue;
    }
    names.push(arg);
    const inner = innerCommand(command, arg);
    if (!inner) {
      index++;
      break;
    }
    command = inner;
  }
  return { args: [...names, ...flags, ...args.slice(index)], command };
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
