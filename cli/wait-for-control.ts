/** Waits for the control plane, and says on what. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { controlPods, isReadyPod } from './control-pods.ts';
import { formatDuration } from './duration.ts';
import { CliError } from './errors.ts';
import { podTrouble } from './pod-trouble.ts';

/** The Deployment has rolled out this very generation: no pod of an older one is left, which might be the one that is available. */
export function isRolledOut(deployment: KubeObject): boolean {
  const { status, spec, metadata } = deployment;
  const wanted = spec?.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    (status?.updatedReplicas ?? 0) >= wanted &&
    (status?.replicas ?? 0) <= (status?.updatedReplicas ?? 0) &&
    (status?.availableReplicas ?? 0) >= wanted
  );
}

/** What the control plane still waits for: the first pod that is not ready and why, or why there is none. */
export async function controlTrouble(kube: KubeClient, deployment: KubeObject | undefined): Promise<string> {
  if (!deployment) return `deploy/${controlName} does not exist in namespace ${controlNamespace}`;
  const pod = (await controlPods(kube)).find((one) => !isReadyPod(one) && !one.metadata.deletionTimestamp);
  if (pod) return podTrouble(kube, pod);
  const conditions: Json[] = deployment.status?.conditions ?? [];
  const refused = conditions.find((one) => one.type === 'ReplicaFailure' && one.status === 'True');
  if (refused) return `no pod could be made: ${refused.message}`;
  const { availableReplicas = 0 } = deployment.status ?? {};
  return `${availableReplicas}/${deployment.spec?.replicas ?? 1} pods available`;
}

/** @throws CliError `control-timeout` naming what was waited for */
export async function waitForControl(
  kube: KubeClient,
  timeoutMs: number,
  signal: AbortSignal,
  waiting: (on: string) => void,
): Promise<void> {
  const began = performance.now();
  let said = began;
  for (;;) {
    const deployment = await kube.find(resources.deployments, controlName, controlNamespace);
    if (deployment && isRolledOut(deployment)) return;
    const now = performance.now();
    const late = now - began > timeoutMs;
    if (now - said > 2_000 || late) {
      said = now;
      const trouble = await controlTrouble(kube, deployment);
      waiting(trouble);
      if (late) {
        throw new CliError({
          code: 'control-timeout',
          message: `deploy/${controlName} in namespace ${controlNamespace} is not ready after ${formatDuration(timeoutMs)} (--wait): ${trouble}`,
        });
      }
    }
    await delay(200, undefined, { signal });
  }
}
