/** `mesh check`: what is wrong with the mesh, and what to do about it. */
import { type Command, Option } from 'commander';
import type { KubeObject } from '../../kube/types.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { CliError, docsBase, exitCode, UsageError } from '../errors.ts';

interface Flags {
  pre?: boolean;
  proxy?: boolean;
  output: string;
  wait: string;
}

interface Result {
  id: string;
  description: string;
  result: 'success' | 'warning' | 'error' | 'skipped';
  error?: string;
  hint?: string;
  fix?: string;
}

export function register(program: Command, context: Context): void {
  program
    .command('check')
    .summary('Check the mesh')
    .description('Check the cluster and the mesh, and say how to fix what is wrong.')
    .option('--pre', 'check whether the mesh can be installed')
    .option('--proxy', 'check the proxies too')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'short', 'json']).default('table'))
    .option('--wait <duration>', 'how long to wait for what is still starting', '30s')
    .addHelpText('after', '\nExamples:\n  mesh check\n  mesh check --proxy -o json')
    .action((flags: Flags) => check(flags, context));
}

async function check(flags: Flags, context: Context): Promise<void> {
  const { io } = context;
  const wait = parseDuration(flags.wait);
  if (wait === undefined) throw new UsageError(`--wait "${flags.wait}" is not a duration.`, 'Use for example 5m.');
  const categories: { categoryName: string; checks: Result[] }[] = [];
  const add = (category: string, result: Result): void => {
    const last = categories.at(-1);
    if (last?.categoryName === category) last.checks.push(result);
    else categories.push({ categoryName: category, checks: [result] });
  };
  if (flags.pre) for (const result of await preInstall(context)) add('pre-install', result);
  else await runAll(flags, context, wait, add);
  const success = categories.every((one) => one.checks.every((each) => each.result !== 'error'));
  if (flags.output === 'json') io.write(`${JSON.stringify({ success, categories }, null, 2)}\n`);
  else io.write(screen(categories, success, flags.output === 'short', io.unicode));
  if (!success) {
    throw new CliError({ code: 'checks-failed', message: 'Some checks failed.', exit: exitCode.checksFailed });
  }
}

async function runAll(
  flags: Flags,
  context: Context,
  wait: number,
  add: (category: string, result: Result) => void,
): Promise<void> {
  const { checks, CheckWarning } = await import('../checks/index.ts');
  const { setTimeout: delay } = await import('node:timers/promises');
  const deadline = performance.now() + wait;
  const connected = { kube: () => context.kube(), now: () => context.now() };
  let failed = false;
  try {
    for (const one of checks.filter((each) => flags.proxy || !each.proxy)) {
      const { id, description, fix } = one;
      if (failed) {
        add(one.category, { id, description, result: 'skipped' });
        continue;
      }
      for (let said = ''; ; ) {
        try {
          await one.run(connected);
          add(one.category, { id, description, result: 'success' });
          break;
        } catch (error) {
          context.signal.throwIfAborted();
          const why = error instanceof Error ? error.message : String(error);
          const warning = error instanceof CheckWarning;
          if (warning || !one.retryable || performance.now() > deadline) {
            const hint = `${docsBase}/checks#${id}`;
            const better = error instanceof CliError ? (error.fix ?? fix) : fix;
            const result = warning ? 'warning' : 'error';
            add(one.category, { id, description, result, error: why, hint, fix: better });
            failed = !warning;
            break;
          }
          if (why !== said) context.io.note(`Waiting: ${description}: ${why}`);
          said = why;
          await delay(500, undefined, { signal: context.signal });
        }
      }
    }
  } finally {
    // A connection that failed is the first check's result, and has nothing to close.
    (await context.connected()?.catch(() => undefined))?.close();
  }
}

/** Whether this machine can run the local mesh, or the cluster grants what an install needs. */
async function preInstall(context: Context): Promise<Result[]> {
  const { isLocal } = await import('../connect.ts');
  if (await isLocal(context.globals, context.io.env)) {
    const { localPreflight } = await import('../../local/launch.ts');
    const hint = `${docsBase}/checks#local-machine`;
    return (await localPreflight()).map(({ id, ok, message, fix }) =>
      ok
        ? { id, description: message, result: 'success' }
        : { id, description: message, result: 'error', error: message, hint, ...(fix ? { fix } : {}) },
    );
  }
  const { resources } = await import('../../kube/resources.ts');
  const kube = await context.kube();
  const { namespaces, clusterRoles, clusterRoleBindings, mutatingWebhooks } = resources;
  try {
    return await Promise.all(
      [namespaces, clusterRoles, clusterRoleBindings, mutatingWebhooks].map(async (type): Promise<Result> => {
        const review = await kube.create<KubeObject>(resources.selfSubjectAccessReviews, {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          metadata: {},
          spec: { resourceAttributes: { verb: 'create', group: type.group, resource: type.plural } },
        });
        const found = { id: 'can-create', description: `can create ${type.plural}` };
        if (review.status?.allowed) return { ...found, result: 'success' };
        const hint = `${docsBase}/checks#can-create`;
        const error = `create ${type.plural} is not allowed`;
        return { ...found, result: 'error', error, hint, fix: 'Install as a cluster administrator.' };
      }),
    );
  } finally {
    kube.close();
  }
}

function screen(
  categories: { categoryName: string; checks: Result[] }[],
  success: boolean,
  short: boolean,
  unicode: boolean,
): string {
  const marks = unicode
    ? { success: '✓', warning: '‼', error: '✗', skipped: '-' }
    : { success: 'ok', warning: '!!', error: 'x', skipped: '-' };
  const lines: string[] = [];
  for (const { categoryName, checks } of categories) {
    const shown = checks.filter((one) => !short || one.result !== 'success');
    if (shown.length === 0) continue;
    lines.push(categoryName, '-'.repeat(categoryName.length));
    for (const one of shown) {
      lines.push(`${marks[one.result]} ${one.description}${one.result === 'skipped' ? ' (skipped)' : ''}`);
      for (const more of [one.error, one.fix, one.hint])
        if (more && more !== one.description) lines.push(`    ${more}`);
    }
    lines.push('');
  }
  lines.push(`Status check results are ${success ? marks.success : marks.error}`);
  return `${lines.join('\n')}\n`;
}
