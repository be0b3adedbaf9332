/** Waits for the control plane, and says on what. */
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { controlPods, isReadyPod } from './control-pods.ts';
import { formatDuration } from './duration.ts';
import { CliError } from './errors.ts';
import { deploymentTrouble, podTrouble, type Trouble } from './pod-trouble.ts';
import { type Wait, waitUntil } from './wait-until.ts';

/** The Deployment has rolled out this very generation, and has pods at all: no pod of an older one is left, which might be the one that is available. */
export function isRolledOut(deployment: KubeObject): boolean {
  const { status, spec, metadata } = deployment;
  const wanted = spec?.replicas ?? 1;
  return (
    wanted > 0 &&
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    (status?.updatedReplicas ?? 0) >= wanted &&
    (status?.replicas ?? 0) <= (status?.updatedReplicas ?? 0) &&
    (status?.availableReplicas ?? 0) >= wanted
  );
}

/** What the control plane still waits for: the newest pod that is not ready and why, or why there is none. */
export async function controlTrouble(kube: KubeClient, deployment: KubeObject | undefined): Promise<Trouble> {
  if (!deployment) return { message: `deploy/${controlName} does not exist in namespace ${controlNamespace}` };
  if (deployment.spec?.replicas === 0) {
    return {
      message: `deploy/${controlName} is scaled to 0 replicas`,
      fix: 'Run `mesh install`: it scales it up again.',
    };
  }
  const [newest] = (await controlPods(kube))
    .filter((pod) => !isReadyPod(pod) && !pod.metadata.deletionTimestamp)
    .sort((a, b) => (a.metadata.creationTimestamp! < b.metadata.creationTimestamp! ? 1 : -1));
  if (newest) return podTrouble(kube, newest);
  const { availableReplicas = 0 } = deployment.status ?? {};
  return (
    deploymentTrouble(deployment) ?? {
      message: `${availableReplicas}/${deployment.spec?.replicas ?? 1} pods available`,
    }
  );
}

/** @throws CliError `control-timeout` naming what was waited for */
export async function waitForControl(kube: KubeClient, wait: Wait): Promise<void> {
  await waitUntil(
    wait,
    async () => {
      const seen = await kube.find(resources.deployments, controlName, controlNamespace);
      return { done: seen !== undefined && isRolledOut(seen), seen };
    },
    (seen) => controlTrouble(kube, seen),
    ({ message, fix }) =>
      new CliError({
        code: 'control-timeout',
        message: `deploy/${controlName} in namespace ${controlNamespace} is not ready after ${formatDuration(wait.timeoutMs)} (--wait): ${message}`,
        fix,
      }),
  );
}
