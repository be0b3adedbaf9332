/** `mesh check`: what is wrong with the mesh, and what to do about it. */
import type { Command } from 'commander';
import type { Category, Check, CheckContext } from '../checks/check.ts';
import type { Result, RunOptions } from '../checks/run.ts';
import type { Context } from '../context.ts';
import { counted } from '../counted.ts';
import { parseDuration } from '../duration.ts';
import { CliError, UsageError } from '../errors.ts';
import type { Io } from '../io.ts';
import { isData, outputOption, writeData } from '../output.ts';
import { SlowStatus } from '../render/status.ts';

/** How long --fix waits for each workload to be rolled out; as `upgrade --restart-workloads` does. */
const fixMs = 5 * 60_000;

interface Flags {
  pre?: boolean;
  proxy?: boolean;
  fix?: boolean;
  yes?: boolean;
  output: string;
  wait: string;
}

export function register(program: Command, context: Context): void {
  program
    .command('check')
    .summary('Check the mesh')
    .description('Check the cluster and the mesh, and say how to fix what is wrong.')
    .option('--pre', 'check whether the mesh can be installed')
    .option('--proxy', 'check the proxies too, of all namespaces or of -n')
    .option('--fix', 'replace pods that lack their proxy or its redirect rules, then check again; with --proxy')
    .option('-y, --yes', 'with --fix: do not ask')
    .addOption(outputOption(['table', 'short', 'json', 'yaml']))
    .option('--wait <duration>', 'how long to wait for what is still starting', '30s')
    .addHelpText(
      'after',
      '\nExamples:\n  mesh check\n  mesh check --pre\n  mesh check --proxy -o short\n  mesh check --fix',
    )
    .action((flags: Flags) => check(flags, context));
}

async function check(flags: Flags, context: Context): Promise<void> {
  const { io, signal } = context;
  if (flags.fix && flags.pre) {
    throw new UsageError('--fix is for a mesh that is installed, --pre for one that is not', 'Pass one of them.');
  }
  const wait = parseDuration('--wait', flags.wait);
  const { isLocal } = await import('../connect.ts');
  const { categoriesOf } = await import('../checks/index.ts');
  const { ask } = await import('../checks/ask.ts');
  // A kubeconfig that is wrong is the first check's result.
  const local = await isLocal(context.globals, io.env).catch(() => false);
  const proxy = flags.proxy === true || flags.fix === true;
  const categories = await categoriesOf({ pre: flags.pre === true, proxy, local });
  const { checkContext, again } = ask(context);
  const once = () => run(categories, checkContext, { wait, signal, again }, flags.output, io);
  let results: Result[];
  try {
    results = await once();
    if (flags.fix) {
      const { fix } = await import('../checks/fix.ts');
      if (await fix(results, checkContext, context, { yes: flags.yes === true, wait: fixMs })) {
        again();
        if (!isData(flags.output)) io.write('\n');
        results = await once();
      }
    }
  } finally {
    // A connection that failed is the first check's result, and has nothing to close.
    (await context.connected()?.catch(() => undefined))?.close();
  }
  const { checkReport } = await import('../render/checks.ts');
  if (isData(flags.output)) await writeData(io, flags.output, checkReport(results));
  const failed = results.filter((one) => one.result === 'error');
  if (failed.length > 0) {
    const ids = failed.map((one) => one.id).join(', ');
    throw new CliError({
      code: 'checks-failed',
      message: `${counted(failed.length, 'check', 'checks')} failed: ${ids}`,
    });
  }
  io.hint(flags.pre ? 'Next: mesh install' : 'Next: mesh inject deployment.yaml | mesh apply -f -');
}

/** All checks once, shown as they come unless data is wanted. */
async function run(
  categories: readonly Category[],
  checkContext: CheckContext,
  options: Omit<RunOptions, 'waiting'>,
  output: string,
  io: Io,
): Promise<Result[]> {
  const { runChecks } = await import('../checks/run.ts');
  const { CheckScreen } = await import('../render/checks.ts');
  const slow = new SlowStatus(io);
  const results: Result[] = [];
  const screen = isData(output) ? undefined : new CheckScreen(io, output === 'short');
  try {
    const waiting = ({ description }: Check, on?: string): void =>
      on === undefined ? slow.begin(`Checking that ${description}`) : slow.waiting(on);
    for await (const result of runChecks(categories, checkContext, { ...options, waiting })) {
      slow.end();
      results.push(result);
      screen?.write(result);
    }
  } finally {
    slow.end();
  }
  screen?.verdict(results);
  return results;
}
