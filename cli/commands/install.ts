/** `mesh install`: the control plane onto a cluster, or with none configured onto this machine. */
import type { Command } from 'commander';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';
import { cniName, controlName, controlNamespace, defaultTrustDomain, imageRepository } from '../../protocol/names.ts';
import { defaultTraceRatio, isOtlpEndpoint, isTraceRatio } from '../../protocol/tracing.ts';
import { version } from '../../protocol/version.ts';
import type { CniOptions } from '../../templates/index.ts';
import type { Context } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { UsageError } from '../errors.ts';
import { outputOption } from '../output.ts';
import { Status } from '../render/status.ts';

interface Flags {
  output?: string;
  dryRun?: boolean;
  wait: string;
  trustDomain: string;
  image?: string;
  registry?: string;
  imagePullSecret?: string[];
  ha?: boolean;
  cni?: boolean;
  cniBinDir?: string;
  cniConfDir?: string;
  otlpEndpoint?: string;
  traceRatio?: string;
  controlEnv?: Record<string, string>;
}

export function register(program: Command, context: Context): void {
  program
    .command('install')
    .summary('Install the mesh')
    .description('Install the control plane on the configured cluster, or start a local mesh on this machine.')
    .addOption(outputOption(['yaml'], 'print the objects instead of applying them'))
    .option('--dry-run', 'list the objects that would be applied, change nothing')
    .option('--wait <duration>', 'how long to wait for the control plane', '5m')
    .option('--trust-domain <domain>', 'trust domain of the identities', defaultTrustDomain)
    .option('--ha', 'three replicas of the control plane, on different nodes')
    .option('--cni', 'a CNI plugin writes the redirect rules, for namespaces of pod security level restricted')
    .option('--cni-bin-dir <path>', "the nodes' folder of CNI binaries (default: /opt/cni/bin)")
    .option('--cni-conf-dir <path>', "the nodes' folder of network configurations (default: /etc/cni/net.d)")
    .option('--image <reference>', `image of the mesh (default: ${imageRepository}:${version})`)
    .option('--registry <address>', 'registry and folder the image is pulled from, for example ghcr.io/acme')
    .option('--image-pull-secret <name>', `secret in ${controlNamespace} to pull the image with (repeatable)`, list)
    .option(
      '--otlp-endpoint <url>',
      'collector that proxies send traces to (OTLP over HTTP), for example http://otel:4318',
    )
    .option('--trace-ratio <share>', `share of new traces that is sampled, 0 to 1 (default: ${defaultTraceRatio})`)
    .option('--control-env <KEY=VALUE>', 'environment of the control plane (debugging; repeatable)', collect)
    .addHelpText(
      'after',
      '\nExamples:\n  mesh install\n  mesh install --ha --registry ghcr.io/acme\n  mesh install -o yaml > mesh.yaml',
    )
    .action((flags: Flags) => install(flags, context));
}

function list(value: string, all: string[] = []): string[] {
  return [...all, value];
}

/** The image to run: named in full, or the mesh's own from another registry. */
function imageOf({ image, registry }: Pick<Flags, 'image' | 'registry'>): string {
  if (image !== undefined && registry !== undefined) {
    throw new UsageError('--image and --registry both say where the image is', 'Pass one of them.');
  }
  if (registry === undefined) return image ?? `${imageRepository}:${version}`;
  return `${registry.replace(/\/$/, '')}/${imageRepository.split('/').at(-1)}:${version}`;
}

/** The folders of the CNI plugin; undefined without it. */
async function cniOf({ cni, cniBinDir, cniConfDir }: Flags): Promise<CniOptions | undefined> {
  if (!cni) {
    if (cniBinDir === undefined && cniConfDir === undefined) return undefined;
    throw new UsageError('--cni-bin-dir and --cni-conf-dir are for the CNI plugin', 'Pass --cni too.');
  }
  const { defaultCni } = await import('../../templates/cni.ts');
  const options = { binDir: cniBinDir ?? defaultCni.binDir, confDir: cniConfDir ?? defaultCni.confDir };
  const relative = Object.values(options).find((path) => !path.startsWith('/'));
  if (relative !== undefined)
    throw new UsageError(`"${relative}" is not an absolute path`, 'Name the folder as the nodes see it.');
  return options;
}

/** Tracing, as the environment of the control plane. */
function tracingOf({ otlpEndpoint, traceRatio }: Flags): Record<string, string> {
  if (otlpEndpoint === undefined) {
    if (traceRatio === undefined) return {};
    throw new UsageError('--trace-ratio is for traces that are sent somewhere', 'Pass --otlp-endpoint too.');
  }
  if (!isOtlpEndpoint(otlpEndpoint)) {
    throw new UsageError(
      `--otlp-endpoint "${otlpEndpoint}" is not an http or https address without credentials`,
      'Use for example http://collector.observability:4318.',
    );
  }
  if (traceRatio !== undefined && !isTraceRatio(traceRatio)) {
    throw new UsageError(`--trace-ratio "${traceRatio}" is not a number from 0 to 1`, 'Use for example 0.1.');
  }
  return {
    MESH_CONTROL_OTLP_ENDPOINT: otlpEndpoint,
    ...(traceRatio === undefined ? {} : { MESH_CONTROL_TRACE_RATIO: traceRatio }),
  };
}

function collect(value: string, all: Record<string, string> = {}): Record<string, string> {
  const at = value.indexOf('=');
  if (at < 1) throw new UsageError(`--control-env "${value}" is not KEY=VALUE`, 'Use for example LOG_LEVEL=debug.');
  return { ...all, [value.slice(0, at)]: value.slice(at + 1) };
}

async function install(flags: Flags, context: Context): Promise<void> {
  const { io, globals } = context;
  const wait = parseDuration('--wait', flags.wait);
  const { renderInstall } = await import('../../templates/index.ts');
  const { trustDomain, imagePullSecret: imagePullSecrets = [], ha = false } = flags;
  const controlEnv = { ...flags.controlEnv, ...tracingOf(flags) };
  const namespace = controlNamespace;
  const image = imageOf(flags);
  const cni = await cniOf(flags);
  const options = { image, version, namespace, trustDomain, ha, imagePullSecrets, controlEnv };
  const objects = renderInstall({ ...options, ...(cni ? { cni } : {}) });
  if (flags.output) {
    const { stringify } = await import('yaml');
    io.write(objects.map((object) => stringify(object)).join('---\n'));
    return;
  }
  const { isLocal, toCliError } = await import('../connect.ts');
  const local = await isLocal(globals, io.env);
  if (local && cni)
    throw new UsageError('The local mesh has no CNI plugins', 'Install without --cni: its pods may have NET_ADMIN.');
  if (flags.dryRun) return dryRun(objects, local, context);
  const began = performance.now();
  const status = new Status(io);
  let kube: KubeClient | undefined;
  let takeDown: (() => Promise<void>) | undefined;
  try {
    if (local) takeDown = await startLocal(context, status);
    context.signal.throwIfAborted();
    if (!local) await status.start('Connecting to the cluster');
    kube = await context.kube();
    if (!local) status.done(`Connected to "${kube.name}" (${(await kube.version()).gitVersion})`);
    const { preflight } = await import('../install-preflight.ts');
    await preflight(kube, objects);
    let changed = await applyAll(kube, objects, wait, status, context);
    const { waitForControl } = await import('../wait-for-control.ts');
    const waited = performance.now();
    await status.start(`Waiting for deploy/${controlName}`);
    await waitForControl(kube, {
      timeoutMs: wait,
      signal: context.signal,
      waiting: (on) => status.waiting(on),
    });
    status.done(`Control plane is ready (deploy/${controlName}, ${seconds(waited)})`);
    const { waitForInjector } = await import('../wait-for-injector.ts');
    await status.start('Waiting for the injector to answer the API server');
    await waitForInjector(kube, wait, context.signal);
    status.done('The injector answers the API server');
    changed += await removeStale(kube, objects, wait, status, context);
    if (changed === 0 && !takeDown) io.write(`mesh is already installed (${version}); nothing to change\n`);
    else io.write(`mesh ${version} is installed (${seconds(began)})\n`);
    io.hint('Next: mesh check');
  } catch (error) {
    status.fail();
    if (context.signal.aborted) await takeDown?.();
    throw kube ? toCliError(error, kube) : error;
  } finally {
    context.cleanUp = undefined;
    kube?.close();
  }
}

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** How many objects were created or changed. */
async function applyAll(
  kube: KubeClient,
  objects: KubeObject[],
  wait: number,
  status: Status,
  context: Context,
): Promise<number> {
  const { applyObject, objectTitle } = await import('../objects.ts');
  const counts = { created: 0, configured: 0, unchanged: 0 };
  await status.start(`Applying ${objects.length} objects`);
  for (const object of objects) {
    context.signal.throwIfAborted();
    const type = (await kube.resolve(object.apiVersion, object.kind))!;
    status.progress(objectTitle(object));
    const verb = await applyObject(kube, type, object, { fieldManager: 'mesh', dryRun: false });
    counts[verb]++;
    context.io.detail(`   ${objectTitle(object)} ${verb}`);
    if (object.kind === 'DaemonSet') await waitForPlugin(kube, wait, status, context);
  }
  const words = Object.entries(counts).filter(([, count]) => count > 0);
  status.done(`Applied ${objects.length} objects (${words.map(([verb, count]) => `${count} ${verb}`).join(', ')})`);
  return counts.created + counts.configured;
}

/** Only a plugin that is on every node may be what pods wait for: the control plane comes after it. */
async function waitForPlugin(kube: KubeClient, wait: number, status: Status, { signal }: Context): Promise<void> {
  const { waitForCni } = await import('../wait-for-cni.ts');
  await waitForCni(kube, { timeoutMs: wait, signal, waiting: (on) => status.waiting(`ds/${cniName}: ${on}`) });
}

/** How many objects went that an install with other options had made: last, when nothing depends on them any more. */
async function removeStale(
  kube: KubeClient,
  objects: KubeObject[],
  waitMs: number,
  status: Status,
  { io, signal }: Context,
): Promise<number> {
  const { objectTitle } = await import('../objects.ts');
  const { prune } = await import('../remove-mesh.ts');
  const deadline = performance.now() + waitMs;
  const waiting = (on: string): void => status.waiting(on);
  const gone = await prune(kube, objects, { deadline, waitMs, signal, waiting });
  for (const object of gone) io.detail(`   ${objectTitle(object)} deleted`);
  return gone.length;
}

async function dryRun(objects: KubeObject[], local: boolean, context: Context): Promise<void> {
  const { localMeshStatus, localPaths } = await import('../../local/launch.ts');
  const there = !local || (await localMeshStatus(localPaths(context.io.env))) === 'running';
  if (!there) context.io.note('The local mesh of this machine would be started');
  const kube = there ? await context.kube() : undefined;
  try {
    await tryObjects(kube, objects, context);
  } finally {
    kube?.close();
  }
}

async function tryObjects(kube: KubeClient | undefined, objects: KubeObject[], { io }: Context): Promise<void> {
  const { preflight } = await import('../install-preflight.ts');
  const { applyObject, objectTitle } = await import('../objects.ts');
  const { stale } = await import('../remove-mesh.ts');
  if (kube) await preflight(kube, objects);
  // Objects in a namespace that is not there yet cannot be tried.
  const { resources } = await import('../../kube/resources.ts');
  const namespace = kube && (await kube.find(resources.namespaces, controlNamespace));
  for (const object of objects) {
    const type = kube && (await kube.resolve(object.apiVersion, object.kind));
    const tried = type && (namespace || !object.metadata.namespace);
    const verb = tried ? await applyObject(kube, type, object, { fieldManager: 'mesh', dryRun: true }) : 'created';
    io.write(`${objectTitle(object)} ${verb} (dry run)\n`);
  }
  const gone = kube ? await stale(kube, objects) : [];
  for (const { object } of gone) io.write(`${objectTitle(object)} deleted (dry run)\n`);
}

/** Resolves with how to take it down again, where this run is what started it. */
async function startLocal(context: Context, status: Status): Promise<(() => Promise<void>) | undefined> {
  const launch = await import('../../local/launch.ts');
  const { fromPart } = await import('../errors.ts');
  const paths = launch.localPaths(context.io.env);
  const existed = (await launch.localMeshStatus(paths)) !== 'absent';
  await status.start('Starting the local mesh');
  context.cleanUp = existed ? 'waiting for a safe point' : 'taking the local mesh down again';
  try {
    const { alreadyRunning } = await launch.startLocalMesh(paths, (step) => status.progress(step));
    status.done(alreadyRunning ? 'The local mesh of this machine runs' : 'Started the local mesh of this machine');
    if (alreadyRunning) return undefined;
    // State of an earlier run is the user's; only what is new here may go.
    return existed ? async () => undefined : () => launch.stopLocalMesh(paths, () => undefined);
  } catch (error) {
    throw error instanceof launch.LocalMeshError ? fromPart(error) : error;
  }
}
