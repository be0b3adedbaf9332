/** Runs checks one after the other, waits for those that pass by themselves, and skips what has nothing to look at. */
import { setTimeout as delay } from 'node:timers/promises';
import { CliError, docsBase } from '../errors.ts';
import { type Category, type Check, type CheckContext, CheckError, CheckWarning } from './check.ts';

export interface Result {
  category: string;
  id: string;
  description: string;
  result: 'success' | 'warning' | 'error' | 'skipped';
  /** What is worth knowing of a success, or why it was skipped. */
  detail?: string;
  error?: string;
  fix?: string;
  /** Where to read more. */
  hint?: string;
}

export interface RunOptions {
  /** Milliseconds all checks together may wait for what is still starting. */
  wait: number;
  signal: AbortSignal;
  /** Told which check runs, and what it waits for. */
  waiting(check: Check, on?: string): void;
  /** Forgets what was asked before: a check is run again. */
  again(): void;
}

export async function* runChecks(
  categories: readonly Category[],
  context: CheckContext,
  options: RunOptions,
): AsyncGenerator<Result> {
  const deadline = performance.now() + options.wait;
  const broken = new Map<string, string>();
  for (const { name, needs = [], applies, checks } of categories) {
    const missing = needs.find((one) => broken.has(one));
    if (missing !== undefined) broken.set(name, broken.get(missing)!);
    // Where what it needs is broken, nobody can tell, and it has nothing to say.
    if (applies && (missing !== undefined || !(await applies(context)))) continue;
    for (const check of checks) {
      const { id, description } = check;
      const because = broken.get(name);
      if (because !== undefined) {
        yield { category: name, id, description, result: 'skipped', detail: `${because} failed` };
        continue;
      }
      const result = await runOne(name, check, context, deadline, options);
      if (result.result === 'error' && check.fatal) broken.set(name, id);
      yield result;
    }
  }
}

async function runOne(
  category: string,
  check: Check,
  context: CheckContext,
  deadline: number,
  { signal, waiting, again }: RunOptions,
): Promise<Result> {
  const { id, section = id, description, fix } = check;
  const found = { category, id, description };
  waiting(check);
  for (;;) {
    try {
      const detail = await check.run(context);
      return { ...found, result: 'success', ...(detail === undefined ? {} : { detail }) };
    } catch (error) {
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      const warning = error instanceof CheckWarning;
      const stays = error instanceof CheckError && error.stays;
      if (warning || !check.retryable || stays || performance.now() > deadline) {
        return {
          ...found,
          result: warning ? 'warning' : 'error',
          error: why,
          fix: (error instanceof CliError || error instanceof CheckError ? error.fix : undefined) ?? fix,
          hint: `${docsBase}/checks#${section}`,
        };
      }
      waiting(check, why.split('\n').join(' '));
      await delay(500, undefined, { signal });
      again();
    }
  }
}
