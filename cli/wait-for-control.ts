/** Waits for the control plane, and says on what. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { CliError, exitCode } from './errors.ts';

const namespace = controlNamespace;

/** Why a pod is not ready, in the cluster's own words. */
export function podTrouble(pod: KubeObject): string {
  const name = pod.metadata.name;
  const statuses: Json[] = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const stuck = statuses.find((one) => one.state?.waiting?.reason);
  if (stuck) return `pod ${name}: container ${stuck.name} is in ${stuck.state.waiting.reason}`;
  const unscheduled = (pod.status?.conditions ?? []).find(
    (one: Json) => one.type === 'PodScheduled' && one.status === 'False',
  );
  if (unscheduled) return `pod ${name} is not scheduled: ${unscheduled.message ?? unscheduled.reason}`;
  return `pod ${name} is ${pod.status?.phase ?? 'Pending'}, not ready yet`;
}

/** The Deployment has rolled out this very generation. */
export function isRolledOut(deployment: KubeObject): boolean {
  const { status, spec, metadata } = deployment;
  const wanted = spec?.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    (status?.updatedReplicas ?? 0) >= wanted &&
    (status?.availableReplicas ?? 0) >= wanted
  );
}

/** @throws CliError `control-timeout` (exit 5) naming what was waited for */
export async function waitForControl(
  kube: KubeClient,
  timeoutMs: number,
  signal: AbortSignal,
  waiting: (on: string) => void,
): Promise<void> {
  const labelSelector = `app.kubernetes.io/name=${controlName}`;
  const deadline = performance.now() + timeoutMs;
  let said = performance.now();
  for (;;) {
    const deployment = await kube.find(resources.deployments, controlName, namespace);
    if (deployment && isRolledOut(deployment)) return;
    const now = performance.now();
    if (now - said > 3_000 || now > deadline) {
      said = now;
      const pods = await kube.list(resources.pods, { namespace, labelSelector });
      const on = pods[0] ? podTrouble(pods[0]) : 'no pod yet';
      waiting(on);
      if (now > deadline) {
        throw new CliError({
          code: 'control-timeout',
          message: `deploy/${controlName} in namespace ${namespace} did not get ready in time: ${on}.`,
          fix: 'Run `mesh check`, and read `mesh logs` of the pod.',
          exit: exitCode.timeout,
        });
      }
    }
    await delay(200, undefined, { signal });
  }
}
