/** `mesh check`: what is wrong with the mesh, and what to do about it. */
import type { Command } from 'commander';
import type { Check } from '../checks/check.ts';
import type { Result } from '../checks/run.ts';
import type { Context } from '../context.ts';
import { counted } from '../counted.ts';
import { parseDuration } from '../duration.ts';
import { CliError } from '../errors.ts';
import { isData, outputOption, writeData } from '../output.ts';
import { SlowStatus } from '../render/status.ts';

interface Flags {
  pre?: boolean;
  proxy?: boolean;
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
    .addOption(outputOption(['table', 'short', 'json', 'yaml']))
    .option('--wait <duration>', 'how long to wait for what is still starting', '30s')
    .addHelpText('after', '\nExamples:\n  mesh check\n  mesh check --pre\n  mesh check --proxy -o short')
    .action((flags: Flags) => check(flags, context));
}

async function check(flags: Flags, context: Context): Promise<void> {
  const { io, signal } = context;
  const wait = parseDuration('--wait', flags.wait);
  const { isLocal } = await import('../connect.ts');
  const { categoriesOf } = await import('../checks/index.ts');
  const { ask } = await import('../checks/ask.ts');
  const { runChecks } = await import('../checks/run.ts');
  const { CheckScreen, checkReport } = await import('../render/checks.ts');
  // A kubeconfig that is wrong is the first check's result.
  const local = await isLocal(context.globals, io.env).catch(() => false);
  const categories = await categoriesOf({ pre: flags.pre === true, proxy: flags.proxy === true, local });
  const { checkContext, again } = ask(context);
  const slow = new SlowStatus(io);
  const results: Result[] = [];
  const screen = isData(flags.output) ? undefined : new CheckScreen(io, flags.output === 'short');
  try {
    const waiting = ({ description }: Check, on?: string): void =>
      on === undefined ? slow.begin(`Checking that ${description}`) : slow.waiting(on);
    const run = { wait, signal, again, waiting };
    for await (const result of runChecks(categories, checkContext, run)) {
      slow.end();
      results.push(result);
      screen?.write(result);
    }
  } finally {
    slow.end();
    // A connection that failed is the first check's result, and has nothing to close.
    (await context.connected()?.catch(() => undefined))?.close();
  }
  screen?.verdict(results);
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
