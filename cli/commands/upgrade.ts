/** `mesh upgrade`: the control plane to the version of this command line, with the settings it has; then the proxies. */
import type { Command } from 'commander';
import { controlName, controlNamespace } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import type { Context } from '../context.ts';
import { counted } from '../counted.ts';
import { parseDuration } from '../duration.ts';
import { CliError } from '../errors.ts';
import type { Workload } from '../restart-workload.ts';

interface Flags {
  image?: string;
  restartWorkloads?: boolean;
  wait: string;
}

export function register(program: Command, context: Context): void {
  program
    .command('upgrade')
    .summary('Upgrade the control plane, and say which proxies are old')
    .description(
      'Bring the control plane to the version of this command line. Its settings and every identity stay. An older command line goes back by the same command.',
    )
    .option('--image <reference>', 'image of the mesh (default: this version, from the registry in use)')
    .option('--restart-workloads', 'restart workloads with an old proxy, one at a time, while their success rate holds')
    .option('--wait <duration>', 'how long to wait for the control plane, and for each workload', '5m')
    .addHelpText('after', '\nExamples:\n  mesh upgrade\n  mesh upgrade --restart-workloads')
    .action((flags: Flags) => upgrade(flags, context));
}

async function upgrade(flags: Flags, context: Context): Promise<void> {
  const { io, signal } = context;
  const wait = parseDuration('--wait', flags.wait);
  const { resources } = await import('../../kube/resources.ts');
  const { renderInstall } = await import('../../templates/index.ts');
  const { installedVersion, keptSettings } = await import('../../templates/settings.ts');
  const { preflight } = await import('../install-preflight.ts');
  const { waitForCni } = await import('../wait-for-cni.ts');
  const { waitForControl } = await import('../wait-for-control.ts');
  const { waitForInjector } = await import('../wait-for-injector.ts');
  const { Status } = await import('../render/status.ts');
  const status = new Status(io);
  const until = { timeoutMs: wait, signal, waiting: (on: string) => status.waiting(on) };
  const kube = await context.kube();
  try {
    const deployment = await kube.find(resources.deployments, controlName, controlNamespace);
    if (!deployment) {
      throw new CliError({
        code: 'mesh-not-installed',
        message: `There is no control plane in "${kube.name}" to upgrade`,
      });
    }
    const from = installedVersion(deployment);
    const kept = keptSettings(deployment, version);
    const objects = renderInstall({ ...kept, ...(flags.image === undefined ? {} : { image: flags.image }) });
    await preflight(kube, objects);
    await status.start(`Applying ${objects.length} objects to "${kube.name}"`);
    for (const object of objects) {
      signal.throwIfAborted();
      await kube.apply(object, { fieldManager: 'mesh', force: true });
      if (object.kind === 'DaemonSet') await waitForCni(kube, until);
    }
    status.done(`Applied ${objects.length} objects to "${kube.name}"`);
    await status.start(`Waiting for deploy/${controlName}`);
    await waitForControl(kube, until);
    status.done(`Control plane is ready (deploy/${controlName})`);
    await status.start('Waiting for the injector to answer the API server');
    await waitForInjector(kube, wait, signal);
    status.done('The injector answers the API server');
    io.write(
      from === version ? `the control plane runs ${version}\n` : `the control plane runs ${version}, before ${from}\n`,
    );
    await proxies(flags, context, status, wait);
  } catch (error) {
    status.fail();
    throw error;
  } finally {
    kube.close();
  }
}

async function proxies(
  flags: Flags,
  context: Context,
  status: import('../render/status.ts').Status,
  wait: number,
): Promise<void> {
  const { io, signal } = context;
  const { oldWorkloads } = await import('../old-proxies.ts');
  const { restart, workloadTitle } = await import('../restart-workload.ts');
  const kube = await context.kube();
  const old = await oldWorkloads(kube, version);
  const can = (one: Workload): boolean => one.object !== undefined;
  if (flags.restartWorkloads) {
    const { openControl } = await import('../control-api.ts');
    const api = await openControl(context);
    for (const workload of old.filter(can)) {
      await status.start(`Restarting ${workloadTitle(workload)}`);
      await restart(kube, api, workload, wait, signal);
      status.done(`Restarted ${workloadTitle(workload)}`);
    }
  }
  const left = flags.restartWorkloads ? await oldWorkloads(kube, version) : old;
  for (const workload of left) {
    const pods = counted(workload.pods, 'pod has', 'pods have');
    io.write(`${workloadTitle(workload)}: ${pods} another version of the proxy\n`);
    if (workload.reason) io.note(`  ${workload.reason}`);
  }
  if (left.length === 0) io.write('every proxy has this version\n');
  else if (left.some(can)) io.hint('Next: mesh upgrade --restart-workloads');
}
