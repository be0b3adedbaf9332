/** `mesh uninstall`: removes the control plane, and the local mesh with everything in it. */
import type { Command } from 'commander';
import { controlNamespace, defaultTrustDomain, imageRepository, meshedLabel } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import type { Context } from '../context.ts';
import { CliError, UsageError } from '../errors.ts';

interface Flags {
  yes?: boolean;
  force?: boolean;
}

export function register(program: Command, context: Context): void {
  program
    .command('uninstall')
    .summary('Remove the mesh')
    .description('Remove the control plane; a local mesh goes with everything that runs in it.')
    .option('-y, --yes', 'do not ask')
    .option('--force', 'remove it although pods with a proxy are left')
    .addHelpText('after', '\nExamples:\n  mesh uninstall\n  mesh uninstall --yes --force')
    .action((flags: Flags) => uninstall(flags, context));
}

async function uninstall(flags: Flags, context: Context): Promise<void> {
  const { io, globals } = context;
  const { isLocal } = await import('../connect.ts');
  const { Status } = await import('../render/status.ts');
  const launch = await import('../../local/launch.ts');
  const status = new Status(io);
  const paths = launch.localPaths(io.env);
  const local = await isLocal(globals, io.env);
  const state = local ? await launch.localMeshStatus(paths) : undefined;
  if (state === 'absent') return io.write('mesh is not installed; nothing to remove\n');
  if (state !== 'stopped') await removeFromCluster(flags, context, status, local);
  else await confirm(flags, context, [`the stopped local mesh and its state in ${paths.state}`]);
  if (local) {
    await status.start('Removing the local mesh');
    try {
      await launch.stopLocalMesh(paths, (step) => status.waiting(step));
    } catch (error) {
      status.fail();
      if (!(error instanceof launch.LocalMeshError)) throw error;
      throw new CliError({ code: error.code, message: error.message, fix: error.fix, cause: error });
    }
    status.done();
  }
  io.write('mesh is removed\n');
}

async function removeFromCluster(
  flags: Flags,
  context: Context,
  status: import('../render/status.ts').Status,
  local: boolean,
): Promise<void> {
  const { setTimeout: delay } = await import('node:timers/promises');
  const { resources } = await import('../../kube/resources.ts');
  const { renderInstall } = await import('../../templates/index.ts');
  const { toCliError } = await import('../connect.ts');
  const kube = await context.kube();
  try {
    const meshed = await kube.list(resources.pods, { labelSelector: `${meshedLabel}=enabled` });
    if (meshed.length > 0 && !flags.force) {
      const named = meshed.slice(0, 5).map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`);
      throw new CliError({
        code: 'pods-still-meshed',
        message: `${meshed.length} pods still have a proxy: ${named.join(', ')}${meshed.length > 5 ? ', …' : ''}.`,
        fix: 'Take the mesh out of them with `mesh uninject`, or pass --force.',
      });
    }
    const image = `${imageRepository}:${version}`;
    const options = { image, version, namespace: controlNamespace, trustDomain: defaultTrustDomain, controlEnv: {} };
    const objects = renderInstall(options).reverse();
    const names = objects.map((object) => `${object.kind.toLowerCase()}/${object.metadata.name}`);
    await confirm(flags, context, local ? ['the local mesh with every object and pod in it'] : names);
    // The whole local mesh goes, its objects with it.
    if (local) return;
    await status.start(`Removing the mesh from "${kube.name}"`);
    for (const object of objects) {
      const type = await kube.resolve(object.apiVersion, object.kind);
      if (!type || !(await kube.find(type, object.metadata.name!, object.metadata.namespace))) continue;
      await kube.delete(type, object.metadata.name!, object.metadata.namespace);
    }
    const deadline = performance.now() + 120_000;
    while (await kube.find(resources.namespaces, controlNamespace)) {
      if (performance.now() > deadline) {
        throw new CliError({
          code: 'uninstall-timeout',
          message: `Namespace ${controlNamespace} is still being deleted after 2 minutes.`,
          fix: `Look at \`kubectl describe namespace ${controlNamespace}\`.`,
          exit: 5,
        });
      }
      await delay(500, undefined, { signal: context.signal });
    }
    status.done();
  } catch (error) {
    status.fail();
    throw toCliError(error, kube);
  } finally {
    kube.close();
  }
}

async function confirm(flags: Flags, context: Context, what: string[]): Promise<void> {
  const { io } = context;
  io.note(`This removes:\n${what.map((one) => `  ${one}`).join('\n')}`);
  if (flags.yes) return;
  if (!io.canPrompt) throw new UsageError('Removing the mesh needs a confirmation.', 'Pass --yes.');
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: io.streams.stdin, output: io.streams.stderr });
  try {
    const answer = await lines.question('Remove it? [y/N] ', { signal: context.signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError({ code: 'declined', message: 'Nothing was removed.' });
  } finally {
    lines.close();
  }
}
