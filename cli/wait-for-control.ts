/** Waits for the control plane, and says on what. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { isReadyPod } from './control-api.ts';
import { CliError, exitCode } from './errors.ts';
import { deploymentTrouble, newestEvent, type Trouble, troubleOf } from './pod-trouble.ts';

const namespace = controlNamespace;
const quietMs = 3_000;

/** The Deployment has rolled out this very generation: all its replicas are new ones, and available. */
export function isRolledOut(deployment: KubeObject): boolean {
  const { status, spec, metadata } = deployment;
  const wanted = spec?.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    (status?.updatedReplicas ?? 0) >= wanted &&
    // Until the last old replica has gone it may be the one that is available.
    (status?.replicas ?? 0) <= (status?.updatedReplicas ?? 0) &&
    (status?.availableReplicas ?? 0) >= wanted
  );
}

/** What keeps the newest pod that is not ready. */
export async function controlTrouble(kube: KubeClient, deployment: KubeObject | undefined): Promise<Trouble> {
  if (!deployment) return { message: `deploy/${controlName} does not exist` };
  const labelSelector = `app.kubernetes.io/name=${controlName}`;
  const pods = await kube.list(resources.pods, { namespace, labelSelector });
  const [newest] = pods
    .filter((pod) => !isReadyPod(pod) && !pod.metadata.deletionTimestamp)
    .sort((a, b) => (a.metadata.creationTimestamp! < b.metadata.creationTimestamp! ? 1 : -1));
  if (newest) {
    const trouble = troubleOf(newest);
    if (!trouble.starting) return trouble;
    const fieldSelector = `involvedObject.uid=${newest.metadata.uid}`;
    const event = newestEvent(await kube.list(resources.events, { namespace, fieldSelector }));
    return event ? { message: `${trouble.message}: ${event}` } : trouble;
  }
  const refused = deploymentTrouble(deployment);
  if (refused) return refused;
  return { message: pods.length === 0 ? 'it has no pod yet' : 'its last pod is being counted' };
}

/** @throws CliError `control-timeout` (exit 5) naming what was waited for */
export async function waitForControl(
  kube: KubeClient,
  timeoutMs: number,
  signal: AbortSignal,
  waiting: (on: string) => void,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let asked = performance.now();
  let said = '';
  for (;;) {
    const deployment = await kube.find(resources.deployments, controlName, namespace);
    if (deployment && isRolledOut(deployment)) return;
    const now = performance.now();
    if (now - asked > quietMs || now > deadline) {
      asked = now;
      const { message, fix } = await controlTrouble(kube, deployment);
      if (message !== said) waiting(message);
      said = message;
      if (now > deadline) {
        throw new CliError({
          code: 'control-timeout',
          message: `deploy/${controlName} in namespace ${namespace} did not get ready in time: ${message}.`,
          fix: fix ?? 'Run `mesh check`, and read `mesh logs control`.',
          exit: exitCode.timeout,
        });
      }
    }
    await delay(200, undefined, { signal });
  }
}
