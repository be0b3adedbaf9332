/** `mesh uninstall`: removes the control plane, and the local mesh with everything in it. */
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';
import { meshedLabel, workloadAnnotation } from '../../protocol/names.ts';
import { confirm } from '../confirm.ts';
import type { Context } from '../context.ts';
import { counted } from '../counted.ts';
import { parseDuration } from '../duration.ts';
import { CliError, fromPart, UsageError } from '../errors.ts';
import type { Found } from '../remove-mesh.ts';
import { Status } from '../render/status.ts';

interface Flags {
  yes?: boolean;
  force?: boolean;
  dryRun?: boolean;
  wait: string;
}

/** What goes, and what stands against it. */
interface Plan {
  goes: string[];
  meshed: KubeObject[];
}

export function register(program: Command, context: Context): void {
  program
    .command('uninstall')
    .summary('Remove the mesh')
    .description('Remove the control plane; a local mesh goes with everything that runs in it.')
    .option('-y, --yes', 'do not ask')
    .option('--force', 'remove it although pods with a proxy are left')
    .option('--dry-run', 'list what would go, remove nothing')
    .option('--wait <duration>', 'how long to wait until it is gone', '2m')
    .addHelpText('after', '\nExamples:\n  mesh uninstall\n  mesh uninstall --yes --force')
    .action((flags: Flags) => uninstall(flags, context));
}

async function uninstall(flags: Flags, context: Context): Promise<void> {
  const { io, globals } = context;
  const wait = parseDuration('--wait', flags.wait);
  const { isLocal, toCliError } = await import('../connect.ts');
  const launch = await import('../../local/launch.ts');
  const paths = launch.localPaths(io.env);
  const local = await isLocal(globals, io.env);
  const state = local ? await launch.localMeshStatus(paths) : undefined;
  if (state === 'absent') return io.write('mesh is not installed; nothing to remove\n');
  const kube = state === 'stopped' ? undefined : await connection(local, flags, context);
  try {
    const { installed, removeMesh } = await import('../remove-mesh.ts');
    const found = kube && !local ? await installed(kube) : [];
    const plan = await planOf(kube, local, found);
    if (plan.goes.length === 0) return io.write('mesh is not installed; nothing to remove\n');
    if (flags.dryRun) return io.write(plan.goes.map((one) => `${one} deleted (dry run)\n`).join(''));
    await mayGoOn(plan, flags, context);
    const status = new Status(io);
    try {
      if (local) await removeLocal(launch, paths, status, context);
      else await removeMesh(kube!, found, wait, status, context);
    } catch (error) {
      status.fail();
      throw kube ? toCliError(error, kube) : error;
    }
  } finally {
    kube?.close();
  }
  io.write('mesh is removed\n');
  io.hint('Next: mesh install');
}

/** The API of what is to be removed. A local mesh that is forced to go needs none: a broken one has to go too. */
async function connection(local: boolean, { force }: Flags, context: Context): Promise<KubeClient | undefined> {
  try {
    return await context.kube();
  } catch (error) {
    if (!local || !force || !(error instanceof CliError)) throw error;
    context.io.note(`${error.message}; the local mesh is removed all the same`);
    return undefined;
  }
}

async function planOf(kube: KubeClient | undefined, local: boolean, found: Found[]): Promise<Plan> {
  if (!kube) return { goes: ['the local mesh, which does not answer, with every object in it'], meshed: [] };
  const { resources } = await import('../../kube/resources.ts');
  const { objectTitle } = await import('../objects.ts');
  const running = ({ status }: KubeObject): boolean => status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
  const meshed = (await kube.list(resources.pods, { labelSelector: `${meshedLabel}=enabled` })).filter(running);
  if (!local) return { goes: found.map(({ object }) => objectTitle(object)), meshed };
  const pods = await kube.list(resources.pods);
  const spaces = new Set(pods.map((pod) => pod.metadata.namespace));
  const what = `${counted(pods.length, 'pod', 'pods')} in ${counted(spaces.size, 'namespace', 'namespaces')}`;
  return { goes: [`the local mesh "${kube.name}", with ${what} and every object in it`], meshed };
}

/** Says what goes, and goes on only where that is wanted. */
async function mayGoOn({ goes, meshed }: Plan, flags: Flags, context: Context): Promise<void> {
  const { io } = context;
  io.note(`This removes:\n${goes.map((one) => `  ${one}`).join('\n')}`);
  if (!flags.yes && !io.canPrompt) {
    const force = meshed.length > 0 && !flags.force ? ' --force' : '';
    throw new UsageError('Removing the mesh needs a confirmation', `Pass --yes${force}.`);
  }
  if (meshed.length > 0 && !flags.force) {
    const workloads = [...new Set(meshed.map(workloadTitle))].sort();
    const named = `${workloads.slice(0, 5).join(', ')}${workloads.length > 5 ? ` and ${workloads.length - 5} more` : ''}`;
    throw new CliError({
      code: 'pods-still-meshed',
      message: `${counted(meshed.length, 'pod has', 'pods have')} a proxy: ${named}`,
    });
  }
  if (flags.yes) return;
  await confirm('Remove it?', 'Nothing was removed', context);
}

function workloadTitle({ metadata }: KubeObject): string {
  return `${metadata.annotations?.[workloadAnnotation] ?? `pod/${metadata.name}`} in namespace ${metadata.namespace}`;
}

async function removeLocal(
  launch: typeof import('../../local/launch.ts'),
  paths: import('../../local/paths.ts').LocalPaths,
  status: Status,
  context: Context,
): Promise<void> {
  await status.start('Removing the local mesh');
  context.cleanUp = 'what is begun is brought to its end';
  try {
    await launch.stopLocalMesh(paths, (step) => status.progress(step));
  } catch (error) {
    throw error instanceof launch.LocalMeshError ? fromPart(error) : error;
  }
  status.done('Removed the local mesh');
}
