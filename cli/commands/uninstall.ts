/** `mesh uninstall`: removes the control plane, and the local mesh with everything in it. */
import type { Command } from 'commander';
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
  const nothing = 'mesh is not installed; nothing to remove\n';
  if (state === 'absent') return io.write(nothing);
  if (state !== 'stopped' && !(await removeFromCluster(flags, context, status, local))) return io.write(nothing);
  if (state === 'stopped') await confirm(flags, context, [`the stopped local mesh and its state in ${paths.state}`]);
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

/** Says false where there was nothing to remove. */
async function removeFromCluster(
  flags: Flags,
  context: Context,
  status: import('../render/status.ts').Status,
  local: boolean,
): Promise<boolean> {
  const { installed, refuseMeshed, removeMesh } = await import('../remove-mesh.ts');
  const { toCliError } = await import('../connect.ts');
  const kube = await context.kube();
  try {
    const found = await installed(kube);
    if (found.length === 0 && !local) return false;
    if (!flags.force) await refuseMeshed(kube);
    const names = found.map(({ object }) => `${object.kind.toLowerCase()}/${object.metadata.name}`);
    await confirm(flags, context, local ? ['the local mesh with every object and pod in it'] : names);
    // The whole local mesh goes, its objects with it.
    if (local) return true;
    await status.start(`Removing the mesh from "${kube.name}"`);
    await removeMesh(kube, found, context.signal, (on) => status.waiting(on));
    status.done();
    return true;
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
