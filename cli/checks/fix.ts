/**
 * `mesh check --fix`: restarts the workloads whose pods were made while no injector was there to give them a proxy, and
 * deletes the pods whose network was made while no CNI plugin was there to redirect it.
 */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { confirm } from '../confirm.ts';
import type { Context } from '../context.ts';
import { openControl } from '../control-api.ts';
import { counted } from '../counted.ts';
import { UsageError } from '../errors.ts';
import { Status } from '../render/status.ts';
import { restart, type Workload, workloadsOf, workloadTitle } from '../restart-workload.ts';
import { waitForInjector } from '../wait-for-injector.ts';
import { type CheckContext, podName } from './check.ts';
import { unredirectedPods } from './mesh-cni.ts';
import type { Result } from './run.ts';

export interface FixOptions {
  /** Do not ask. */
  yes: boolean;
  /** Milliseconds for the injector, and for each workload. */
  wait: number;
}

/** What will be done. */
interface Plan {
  restarts: Workload[];
  /** Pods that their controller makes anew. */
  deletions: KubeObject[];
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
  const { io } = context;
  const resultOf = (id: string) => results.find((one) => one.id === id)?.result;
  const injected = resultOf('proxies-injected');
  // Where pods need no plugin, or none is there to give them what they lack, it is not looked at or not well.
  const redirected = resultOf('cni-redirected');
  if (injected === 'success' && (redirected === undefined || redirected === 'success')) {
    io.note('Nothing to fix: every pod that should have a proxy has one');
    return false;
  }
  // Something that it needs failed; that is the run's result.
  const pluginIll = redirected !== undefined && resultOf('cni-ready') !== 'success';
  if ((injected !== 'success' && injected !== 'warning') || pluginIll) {
    io.note('Nothing was fixed: what failed must be well first');
    return false;
  }
  const plan: Plan = {
    restarts: injected === 'warning' ? await restartable(checks, context) : [],
    deletions: redirected === 'error' ? await deletable(checks, context) : [],
  };
  if (plan.restarts.length + plan.deletions.length === 0) {
    io.note('Nothing was fixed: no workload can be restarted for it');
    return false;
  }
  await mayFix(plan, options, context);
  await carryOut(plan, options, context);
  return true;
}

/** Workloads with pods that a restart would give a proxy; what nothing helps is the check's own message. */
async function restartable(checks: CheckContext, { io }: Context): Promise<Workload[]> {
  const pods = (await checks.unmeshedPods()).filter((one) => one.restart_helps);
  const titled = pods.map(({ namespace, workload: { kind, name } }) => ({ namespace, title: `${kind}/${name}` }));
  const workloads = await workloadsOf(await checks.kube(), titled);
  for (const one of workloads.filter((each) => each.reason)) io.note(`${workloadTitle(one)}: ${one.reason}`);
  return workloads.filter((one) => one.object !== undefined);
}

/** None of them serves anything: their first container keeps them from starting. */
async function deletable(checks: CheckContext, { io }: Context): Promise<KubeObject[]> {
  const pods = await unredirectedPods(checks);
  const isOwned = ({ metadata }: KubeObject): boolean =>
    metadata.ownerReferences?.some((one) => one.controller) === true;
  for (const pod of pods.filter((one) => !isOwned(one)))
    io.note(`pod ${podName(pod)}: nothing makes it anew: delete it and apply its manifest again`);
  return pods.filter(isOwned);
}

async function mayFix({ restarts, deletions }: Plan, { yes }: FixOptions, context: Context): Promise<void> {
  const { io } = context;
  if (deletions.length > 0) {
    const lines = deletions.map((pod) => `  ${podName(pod)}: its traffic is not redirected`);
    io.note(`This deletes pods that others take the place of:\n${lines.join('\n')}`);
  }
  if (restarts.length > 0) {
    const lines = restarts.map(
      (one) => `  ${workloadTitle(one)}: ${counted(one.pods, 'pod has', 'pods have')} no proxy`,
    );
    io.note(`This restarts, one after the other:\n${lines.join('\n')}`);
  }
  if (yes) return;
  const what = deletions.length > 0 ? 'Deleting pods' : 'Restarting workloads';
  if (!io.canPrompt) throw new UsageError(`${what} needs a confirmation`, 'Pass --yes.');
  if (deletions.length > 0) await confirm('Fix them?', 'Nothing was changed', context);
  else await confirm('Restart them?', 'Nothing was restarted', context);
}

async function carryOut({ restarts, deletions }: Plan, { wait }: FixOptions, context: Context): Promise<void> {
  const { io, signal } = context;
  const status = new Status(io);
  const kube = await context.kube();
  try {
    for (const pod of deletions) {
      await status.start(`Deleting pod ${podName(pod)}`);
      await kube.delete(resources.pods, pod.metadata.name!, pod.metadata.namespace);
      status.done(`Deleted pod ${podName(pod)}`);
    }
    if (restarts.length === 0) return;
    await status.start('Waiting for the injector to answer the API server');
    await waitForInjector(kube, wait, signal);
    status.done('The injector answers the API server');
    const api = await openControl(context);
    for (const workload of restarts) {
      await status.start(`Restarting ${workloadTitle(workload)}`);
      await restart(kube, api, workload, wait, signal);
      status.done(`Restarted ${workloadTitle(workload)}`);
    }
  } catch (error) {
    status.fail();
    throw error;
  }
}
