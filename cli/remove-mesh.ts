/** Takes the control plane out of a cluster: every object an install may have made, and the trust bundles it spread. */
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject, ResourceType } from '../kube/types.ts';
import { controlNamespace, defaultTrustDomain, meshedLabel, trustBundleConfigMap } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import { renderInstall } from '../templates/index.ts';
import { CliError, exitCode } from './errors.ts';

const namespaceTimeoutMs = 120_000;

export interface Found {
  type: ResourceType;
  object: KubeObject;
}

/** What is there of an install, whatever its options were, in the order to delete it. */
export async function installed(kube: KubeClient): Promise<Found[]> {
  const options = { image: '', version, namespace: controlNamespace, trustDomain: defaultTrustDomain };
  const objects = renderInstall({ ...options, ha: true, imagePullSecrets: [], controlEnv: {} });
  const found = await Promise.all(
    objects.map(async ({ apiVersion, kind, metadata }): Promise<Found[]> => {
      const type = await kube.resolve(apiVersion, kind);
      const object = type && (await kube.find(type, metadata.name!, metadata.namespace));
      return object ? [{ type, object }] : [];
    }),
  );
  return found.flat().reverse();
}

/** @throws CliError `pods-still-meshed` */
export async function refuseMeshed(kube: KubeClient): Promise<void> {
  const meshed = await kube.list(resources.pods, { labelSelector: `${meshedLabel}=enabled` });
  if (meshed.length === 0) return;
  const named = meshed.slice(0, 5).map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`);
  throw new CliError({
    code: 'pods-still-meshed',
    message: `${meshed.length} pods still have a proxy: ${named.join(', ')}${meshed.length > 5 ? ', …' : ''}.`,
    fix: 'Take the mesh out of them with `mesh uninject`, or pass --force.',
  });
}

/** Deletes it all and waits until it is gone. @throws CliError `uninstall-timeout` saying what the namespace waits for */
export async function removeMesh(
  kube: KubeClient,
  found: readonly Found[],
  signal: AbortSignal,
  waiting: (on: string) => void,
): Promise<void> {
  for (const one of found) {
    signal.throwIfAborted();
    await removeFound(kube, one);
  }
  const deadline = performance.now() + namespaceTimeoutMs;
  let said = '';
  for (;;) {
    const namespace = await kube.find(resources.namespaces, controlNamespace);
    if (!namespace) break;
    const on = remaining(namespace);
    if (performance.now() > deadline) {
      throw new CliError({
        code: 'uninstall-timeout',
        message: `Namespace ${controlNamespace} is still being deleted after 2 minutes: ${on}`,
        fix: `Look at \`kubectl describe namespace ${controlNamespace}\`.`,
        exit: exitCode.timeout,
      });
    }
    if (on !== said) waiting(on);
    said = on;
    await delay(300, undefined, { signal });
  }
  // Only now: a control plane that still runs would write them again.
  const bundles = await kube.list(resources.configMaps, { fieldSelector: `metadata.name=${trustBundleConfigMap}` });
  await Promise.all(bundles.map((object) => removeFound(kube, { type: resources.configMaps, object })));
}

async function removeFound(kube: KubeClient, { type, object }: Found): Promise<void> {
  try {
    await kube.delete(type, object.metadata.name!, object.metadata.namespace);
  } catch (error) {
    // Gone with its namespace, or with its owner.
    if (!(error instanceof KubeError) || error.status !== 404) throw error;
  }
}

/** Deletes what an install with other options made and this one does not have; false where there was nothing. */
export async function prune(kube: KubeClient, wanted: readonly KubeObject[]): Promise<boolean> {
  const kept = new Set(wanted.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  const stale = (await installed(kube)).filter(({ object }) => !kept.has(`${object.kind}/${object.metadata.name}`));
  for (const one of stale) await removeFound(kube, one);
  return stale.length > 0;
}

/** What the namespace controller waits for, in its own words. */
export function remaining(namespace: KubeObject): string {
  const conditions: { type: string; status: string; message?: string }[] = namespace.status?.conditions ?? [];
  const told = conditions.filter((one) => one.status === 'True' && one.message).map((one) => one.message!);
  return told.length > 0 ? told.join(' ') : `namespace ${namespace.metadata.name} is being deleted`;
}
