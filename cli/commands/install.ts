/** `mesh install`: the control plane onto a cluster, or with none configured onto this machine. */
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';
import { controlName, controlNamespace, defaultTrustDomain, imageRepository } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { CliError, exitCode, UsageError } from '../errors.ts';

interface Flags {
  output?: string;
  dryRun?: boolean;
  wait: string;
  trustDomain: string;
  image?: string;
  registry?: string;
  imagePullSecret: string[];
  ha?: boolean;
  controlEnv: Record<string, string>;
}

export function register(program: Command, context: Context): void {
  program
    .command('install')
    .summary('Install the mesh')
    .description('Install the control plane on the configured cluster, or start a local mesh on this machine.')
    .option('-o, --output <format>', 'print the objects instead of applying them: yaml')
    .option('--dry-run', 'list the objects that would be applied, change nothing')
    .option('--wait <duration>', 'how long to wait for the control plane', '5m')
    .option('--trust-domain <domain>', 'trust domain of the identities', defaultTrustDomain)
    .option('--ha', 'three replicas of the control plane, on different nodes')
    .option('--image <reference>', `image of the mesh (default: ${imageRepository}:${version})`)
    .option('--registry <address>', 'registry and folder the image is pulled from, for example ghcr.io/acme')
    .option('--image-pull-secret <name>', `secret in ${controlNamespace} to pull the image with (repeatable)`, list, [])
    .option('--control-env <KEY=VALUE>', 'environment of the control plane (debugging; repeatable)', collect, {})
    .addHelpText(
      'after',
      '\nExamples:\n  mesh install\n  mesh install --ha --registry ghcr.io/acme\n  mesh install -o yaml > mesh.yaml',
    )
    .action((flags: Flags) => install(flags, context));
}

function list(value: string, all: string[]): string[] {
  return [...all, value];
}

/** The image to run: named in full, or the mesh's own from another registry. */
function imageOf({ image, registry }: Pick<Flags, 'image' | 'registry'>): string {
  if (image !== undefined && registry !== undefined) {
    throw new UsageError('--image and --registry both say where the image is.', 'Pass one of them.');
  }
  if (registry === undefined) return image ?? `${imageRepository}:${version}`;
  return `${registry.replace(/\/$/, '')}/${imageRepository.split('/').at(-1)}:${version}`;
}

function collect(value: string, all: Record<string, string>): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new UsageError(`--control-env "${value}" is not KEY=VALUE.`);
  return { ...all, [value.slice(0, at)]: value.slice(at + 1) };
}

async function install(flags: Flags, context: Context): Promise<void> {
  const { io, globals } = context;
  const wait = parseDuration(flags.wait);
  if (wait === undefined) throw new UsageError(`--wait "${flags.wait}" is not a duration.`, 'Use for example 5m.');
  if (flags.output !== undefined && flags.output !== 'yaml') {
    throw new UsageError(`--output "${flags.output}" is not known.`, 'The only format is yaml.');
  }
  const { renderInstall } = await import('../../templates/index.ts');
  const { trustDomain, controlEnv, imagePullSecret: imagePullSecrets, ha = false } = flags;
  const namespace = controlNamespace;
  const image = imageOf(flags);
  const objects = renderInstall({ image, version, namespace, trustDomain, ha, imagePullSecrets, controlEnv });
  if (flags.output) {
    const { stringify } = await import('yaml');
    io.write(objects.map((object) => stringify(object)).join('---\n'));
    return;
  }
  const { Status } = await import('../render/status.ts');
  const { isLocal, toCliError } = await import('../connect.ts');
  const began = performance.now();
  const status = new Status(io);
  let started: (() => Promise<void>) | undefined;
  let kube: KubeClient | undefined;
  try {
    if (!flags.dryRun && (await isLocal(globals, io.env))) started = await startLocal(context, status);
    context.signal.throwIfAborted();
    kube = await context.kube();
    const { preflight } = await import('../install-preflight.ts');
    await preflight(kube, objects);
    if (flags.dryRun) {
      for (const object of objects) io.write(`${object.kind.toLowerCase()}/${object.metadata.name} would be applied\n`);
      return;
    }
    const before = await stored(kube, objects);
    await status.start(`Applying ${objects.length} objects to "${kube.name}"`);
    let changed = false;
    for (const object of objects) {
      context.signal.throwIfAborted();
      const after = await kube.apply(object, { fieldManager: 'mesh', force: true });
      changed ||= before.get(keyOf(object)) !== after.metadata.resourceVersion;
    }
    const { prune } = await import('../remove-mesh.ts');
    changed = (await prune(kube, objects)) || changed;
    status.done();
    const { waitForControl } = await import('../wait-for-control.ts');
    await status.start(`Waiting for deploy/${controlName}`);
    await waitForControl(kube, wait, context.signal, (on) => status.waiting(on));
    status.done();
    const { waitForInjector } = await import('../wait-for-injector.ts');
    await status.start('Waiting for the injector to answer the API server');
    await waitForInjector(kube, wait, context.signal);
    status.done();
    if (!changed && !started) io.write(`mesh is already installed (${version}); nothing to change\n`);
    else io.write(`mesh ${version} is installed (${((performance.now() - began) / 1000).toFixed(1)} s)\n`);
    io.hint('Next: mesh check');
  } catch (error) {
    status.fail();
    if (context.signal.aborted && started) await started();
    if (context.signal.aborted) {
      throw new CliError({ code: 'interrupted', message: 'The install was interrupted.', exit: exitCode.interrupted });
    }
    throw kube ? toCliError(error, kube) : error;
  } finally {
    kube?.close();
  }
}

/** Resolves with how to take it down again, where this run is what started it. */
async function startLocal(context: Context, status: import('../render/status.ts').Status) {
  const launch = await import('../../local/launch.ts');
  const paths = launch.localPaths(context.io.env);
  const existed = (await launch.localMeshStatus(paths)) !== 'absent';
  await status.start('Starting the local mesh');
  try {
    const { alreadyRunning } = await launch.startLocalMesh(paths, (step) => status.waiting(step));
    status.done();
    if (alreadyRunning) return undefined;
    // State of an earlier run is the user's; only what is new here may go.
    return existed ? async () => undefined : () => launch.stopLocalMesh(paths, () => undefined);
  } catch (error) {
    if (!(error instanceof launch.LocalMeshError)) throw error;
    throw new CliError({ code: error.code, message: error.message, fix: error.fix, cause: error });
  }
}

function keyOf(object: KubeObject): string {
  return `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

/** The versions of what is there already: applying what changes nothing leaves them as they are. */
async function stored(kube: KubeClient, objects: KubeObject[]): Promise<Map<string, string | undefined>> {
  const versions = await Promise.all(
    objects.map(async (object) => {
      const type = await kube.resolve(object.apiVersion, object.kind);
      const found = type && (await kube.find(type, object.metadata.name!, object.metadata.namespace));
      return [keyOf(object), found?.metadata.resourceVersion] as const;
    }),
  );
  return new Map(versions);
}
