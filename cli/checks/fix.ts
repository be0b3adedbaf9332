/** `mesh check --fix`: restarts the workloads whose pods were made while no injector was there to give them a proxy. */
import { confirm } from '../confirm.ts';
import type { Context } from '../context.ts';
import { openControl } from '../control-api.ts';
import { counted } from '../counted.ts';
import { UsageError } from '../errors.ts';
import { Status } from '../render/status.ts';
import { restart, type Workload, workloadsOf, workloadTitle } from '../restart-workload.ts';
import { waitForInjector } from '../wait-for-injector.ts';
import type { CheckContext } from './check.ts';
import type { Result } from './run.ts';

/** The check whose finding can be fixed. */
const fixable = 'proxies-injected';

export interface FixOptions {
  /** Do not ask. */
  yes: boolean;
  /** Milliseconds for the injector, and for each workload. */
  wait: number;
}

/**
 * Fixes what the checks found, after saying what it will do and asking. False where nothing was changed.
 * @throws CliError `declined`, `injector-unreachable`, `restart-stopped`, `restart-timeout`, or UsageError where it cannot ask
 */
export async function fix(
  results: readonly Result[],
  checks: CheckContext,
  context: Context,
  options: FixOptions,
): Promise<boolean> {
  const { io, signal } = context;
  const found = results.find((one) => one.id === fixable);
  if (found?.result === 'success') {
    io.note('Nothing to fix: every pod that should have a proxy has one');
    return false;
  }
  // Something that it needs failed; that is the run's result.
  if (found?.result !== 'warning') {
    io.note('Nothing was fixed: what failed must be well first');
    return false;
  }
  const workloads = await unmeshed(checks);
  const able = workloads.filter((one) => one.object !== undefined);
  for (const one of workloads.filter((each) => each.reason)) io.note(`${workloadTitle(one)}: ${one.reason}`);
  if (able.length === 0) {
    io.note('Nothing was fixed: no workload can be restarted for it');
    return false;
  }
  await mayRestart(able, options, context);
  const status = new Status(io);
  try {
    await status.start('Waiting for the injector to answer the API server');
    const kube = await context.kube();
    await waitForInjector(kube, options.wait, signal);
    status.done('The injector answers the API server');
    const api = await openControl(context);
    for (const workload of able) {
      await status.start(`Restarting ${workloadTitle(workload)}`);
      await restart(kube, api, workload, options.wait, signal);
      status.done(`Restarted ${workloadTitle(workload)}`);
    }
  } catch (error) {
    status.fail();
    throw error;
  }
  return true;
}

/** Workloads with pods that a restart would give a proxy; what nothing helps is the check's own message. */
async function unmeshed(checks: CheckContext): Promise<Workload[]> {
  const pods = (await checks.unmeshedPods()).filter((one) => one.restart_helps);
  const titled = pods.map(({ namespace, workload: { kind, name } }) => ({ namespace, title: `${kind}/${name}` }));
  return workloadsOf(await checks.kube(), titled);
}

async function mayRestart(workloads: readonly Workload[], { yes }: FixOptions, context: Context): Promise<void> {
  const { io } = context;
  const lines = workloads.map((one) => {
    const pods = counted(one.pods, 'pod has', 'pods have');
    return `  ${workloadTitle(one)}: ${pods} no proxy`;
  });
  io.note(`This restarts, one after the other:\n${lines.join('\n')}`);
  if (yes) return;
  if (!io.canPrompt) throw new UsageError('Restarting workloads needs a confirmation', 'Pass --yes.');
  await confirm('Restart them?', 'Nothing was restarted', context);
}
