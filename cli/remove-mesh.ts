/** Takes the control plane out of a cluster: every object an install may have made, and the trust bundles it spread. */
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject, ResourceType } from '../kube/types.ts';
import { controlNamespace, defaultTrustDomain, trustBundleConfigMap } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import { defaultCni } from '../templates/cni.ts';
import { renderInstall } from '../templates/index.ts';
import type { Context } from './context.ts';
import { counted } from './counted.ts';
import { formatDuration } from './duration.ts';
import { CliError } from './errors.ts';
import { objectTitle } from './objects.ts';
import type { Status } from './render/status.ts';

export interface Found {
  type: ResourceType;
  object: KubeObject;
}

/** Everything an install may make, whatever its options are. */
export function everyObject(): KubeObject[] {
  const options = { image: '', version, namespace: controlNamespace, trustDomain: defaultTrustDomain };
  return renderInstall({ ...options, ha: true, cni: defaultCni, imagePullSecrets: [], controlEnv: {} });
}

/** What is there of an install, in the order to delete it. */
export async function installed(kube: KubeClient): Promise<Found[]> {
  const found = await Promise.all(
    everyObject().map(async ({ apiVersion, kind, metadata }): Promise<Found[]> => {
      const type = await kube.resolve(apiVersion, kind);
      const object = type && (await kube.find(type, metadata.name!, metadata.namespace));
      return object ? [{ type, object }] : [];
    }),
  );
  return found.flat().reverse();
}

/** Deletes it all and waits until it is gone. @throws CliError `uninstall-timeout` saying what the namespace waits for */
export async function removeMesh(
  kube: KubeClient,
  found: readonly Found[],
  waitMs: number,
  status: Status,
  { io, signal }: Context,
): Promise<void> {
  const objects = counted(found.length, 'object', 'objects');
  await status.start(`Removing ${objects} from "${kube.name}"`);
  for (const one of found) {
    signal.throwIfAborted();
    await removeFound(kube, one);
    io.detail(`   ${objectTitle(one.object)} deleted`);
  }
  status.done(`Removed ${objects} from "${kube.name}"`);
  const deadline = performance.now() + waitMs;
  // The pods of the CNI plugin take it off their nodes before they end.
  for (const name of new Set([...namespacesIn(found), controlNamespace])) {
    await status.start(`Waiting until namespace ${name} is gone`);
    await waitUntilGone(kube, name, { deadline, waitMs, signal, waiting: (on) => status.waiting(on) });
    status.done(`Namespace ${name} is gone`);
  }
  await removeTrustBundles(kube, status);
}

const namespacesIn = (found: readonly Found[]): string[] =>
  found.flatMap(({ type, object }) => (type.kind === 'Namespace' ? [object.metadata.name!] : []));

export interface Wait {
  /** On the clock of `performance`. */
  deadline: number;
  waitMs: number;
  signal: AbortSignal;
  waiting: (on: string) => void;
}

async function waitUntilGone(
  kube: KubeClient,
  name: string,
  { deadline, waitMs, signal, waiting }: Wait,
): Promise<void> {
  for (;;) {
    const namespace = await kube.find(resources.namespaces, name);
    if (!namespace) return;
    const on = remaining(namespace);
    if (performance.now() > deadline) {
      throw new CliError({
        code: 'uninstall-timeout',
        message: `Namespace ${name} is still being deleted after ${formatDuration(waitMs)} (--wait)${on === undefined ? '' : `: ${on}`}`,
      });
    }
    if (on !== undefined) waiting(on);
    await delay(200, undefined, { signal });
  }
}

/** The control plane keeps one in every namespace; gone itself, it cannot put them back. */
async function removeTrustBundles(kube: KubeClient, status: Status): Promise<void> {
  const type = resources.configMaps;
  const bundles = await kube.list(type, { fieldSelector: `metadata.name=${trustBundleConfigMap}` });
  if (bundles.length === 0) return;
  const what = counted(bundles.length, 'trust bundle', 'trust bundles');
  await status.start(`Removing ${what}`);
  await Promise.all(bundles.map((object) => removeFound(kube, { type, object })));
  status.done(`Removed ${what}`);
}

async function removeFound(kube: KubeClient, { type, object }: Found): Promise<void> {
  try {
    await kube.delete(type, object.metadata.name!, object.metadata.namespace);
  } catch (error) {
    // Gone with its namespace, or with its owner.
    if (!(error instanceof KubeError) || error.status !== 404) throw error;
  }
}

/** What an install with other options made and this one does not have. */
export async function stale(kube: KubeClient, wanted: readonly KubeObject[]): Promise<Found[]> {
  const kept = new Set(wanted.map(objectTitle));
  return (await installed(kube)).filter(({ object }) => !kept.has(objectTitle(object)));
}

/** Deletes what is stale, waits until its namespaces are gone, and says what that was. */
export async function prune(kube: KubeClient, wanted: readonly KubeObject[], wait: Wait): Promise<KubeObject[]> {
  const found = await stale(kube, wanted);
  for (const one of found) await removeFound(kube, one);
  for (const name of namespacesIn(found)) await waitUntilGone(kube, name, wait);
  return found.map(({ object }) => object);
}

/** What the namespace controller waits for, in its own words. */
export function remaining(namespace: KubeObject): string | undefined {
  const conditions: { status: string; message?: string }[] = namespace.status?.conditions ?? [];
  const told = conditions.flatMap(({ status, message }) => (status === 'True' && message ? [message] : []));
  return told.length > 0 ? told.join(' ') : undefined;
}
