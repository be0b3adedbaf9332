/** Flags of the programs of this repository: what is wrong with them is one line and exit code 2, as with `mesh`, not a stack. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

export class Misuse extends Error {}

/** Ends this program, with how it is used, where `read` throws a Misuse. */
export function orUsage<T>(usage: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    process.stderr.write(`${error.message}\nUsage: ${usage}\n`);
    process.exit(2);
  }
}

/** @throws Misuse */
export function parseFlags<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>>['values'] {
  try {
    return parseArgs(config).values;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // What Node says after its first sentence is how the text could be meant otherwise: none of that is of use here.
    if (code?.startsWith('ERR_PARSE_ARGS_')) throw new Misuse(message.split(/\.\s/)[0]);
    throw error;
  }
}

/** @throws Misuse where it is no whole number above 0 */
export function wholeNumber(flag: string, text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new Misuse(`${flag} "${text}" is no whole number above 0`);
  return number;
}

/** Those of `all` whose names a list separated by commas has; all where there is no list. @throws Misuse */
export function chosen<T extends { name: string }>(flag: string, list: string | undefined, all: readonly T[]): T[] {
  const names = all.map(({ name }) => name.toLowerCase());
  const wanted = list?.toLowerCase().split(',') ?? names;
  const stranger = wanted.find((name) => !names.includes(name));
  if (stranger !== undefined) throw new Misuse(`${flag}: "${stranger}" is none of ${names.join(', ')}`);
  return all.filter(({ name }) => wanted.includes(name.toLowerCase()));
}
