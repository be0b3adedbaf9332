/** `mesh bug`: a report to start from, without names or addresses of anyone's cluster. */
import type { Command } from 'commander';
import { version } from '../../protocol/version.ts';
import type { Result } from '../checks/run.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { askVersions, type Versions } from './version.ts';

export function register(program: Command, context: Context): void {
  program
    .command('bug')
    .summary('Print a report for a bug')
    .description('Print a report to fill in: versions and failed checks, no names, addresses or secrets.')
    .addHelpText('after', '\nExamples:\n  mesh bug\n  mesh bug > report.md')
    .action(async () => {
      const [versions, kubernetes, results] = [
        await controlPlane(context),
        await cluster(context),
        await failed(context),
      ];
      (await context.connected()?.catch(() => undefined))?.close();
      context.io.write(report(versions, kubernetes, results));
      context.io.note('Read it before you send it, and say what you did, saw and expected');
    });
}

/** What is there, or the code of the error that says why it is not. */
async function orCode<T>(work: () => Promise<T>): Promise<T | string> {
  return work().catch((error: unknown) => (error instanceof CliError ? error.code : 'internal'));
}

const controlPlane = (context: Context): Promise<Versions | string> => orCode(() => askVersions(context));

const cluster = (context: Context): Promise<string> =>
  orCode(async () => {
    const kube = await context.kube();
    return `${(await kube.version()).gitVersion} (${kube.local ? 'local mesh' : 'cluster'})`;
  });

async function failed(context: Context): Promise<Result[]> {
  const { categoriesOf } = await import('../checks/index.ts');
  const { ask } = await import('../checks/ask.ts');
  const { runChecks } = await import('../checks/run.ts');
  const { checkContext, again } = ask(context);
  const categories = await categoriesOf({ pre: false, proxy: true, local: false });
  const run = { wait: 0, signal: context.signal, again, waiting: () => {} };
  const found: Result[] = [];
  for await (const one of runChecks(categories, checkContext, run)) {
    if (one.result === 'error' || one.result === 'warning') found.push(one);
  }
  return found;
}

function report(versions: Versions | string, kubernetes: string, results: readonly Result[]): string {
  const { node } = process.versions;
  const proxies = typeof versions === 'string' ? [] : versions.proxies;
  const lines = [
    ...['## What happened', '', '(what you did, what you saw, what you expected)', '', '## Versions', ''],
    `- command line: ${version} (Node ${node}, ${process.platform} ${process.arch})`,
    `- control plane: ${typeof versions === 'string' ? versions : versions.control}`,
    `- proxies: ${proxies.map((one) => `${one.version} (${one.count})`).join(', ') || 'none'}`,
    `- Kubernetes: ${kubernetes}`,
    ...['', '## Checks that do not pass', ''],
    ...(results.length === 0 ? ['none'] : results.map(({ id, result }) => `- ${id} (${result})`)),
  ];
  return `${lines.join('\n')}\n`;
}
