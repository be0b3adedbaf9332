/** PodDisruptionBudget: how many of its pods may be evicted now. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey } from './controller.ts';
import { controllerOf, isActive, isReady, matches, podType, scaled } from './workload.ts';

export async function reconcileBudget(objects: Objects, key: string): Promise<void> {
  const { namespace, name } = splitKey(key);
  const budget = objects.get(resources.podDisruptionBudgets, name, namespace);
  if (!budget || budget.metadata.deletionTimestamp) return;
  const pods = objects
    .list(podType, { namespace })
    .filter((pod) => isActive(pod) && matches(budget.spec.selector, pod.metadata.labels));
  const expectedPods = expected(objects, pods);
  const { minAvailable, maxUnavailable } = budget.spec;
  const desiredHealthy =
    maxUnavailable === undefined
      ? scaled(minAvailable, expectedPods, true, 1)
      : Math.max(0, expectedPods - scaled(maxUnavailable, expectedPods, true, 1));
  const currentHealthy = pods.filter(isReady).length;
  const disruptionsAllowed = Math.max(0, currentHealthy - desiredHealthy);
  await objects.updateStatus(resources.podDisruptionBudgets, name, namespace, (status) => ({
    ...status,
    observedGeneration: budget.metadata.generation,
    expectedPods,
    desiredHealthy,
    currentHealthy,
    disruptionsAllowed,
  }));
}

/** The pods there should be: the counts of the workloads that control them, else those there are. */
function expected(objects: Objects, pods: KubeObject[]): number {
  const counts = new Map<string, number>();
  let alone = 0;
  for (const pod of pods) {
    const owner = controllerOf(pod);
    const type = [resources.replicaSets, resources.statefulSets].find((one) => one.kind === owner?.kind);
    const workload = owner && type && objects.get(type, owner.name, pod.metadata.namespace);
    if (workload) counts.set(owner.uid, workload.spec.replicas ?? 1);
    else alone++;
  }
  return alone + [...counts.values()].reduce((sum, count) => sum + count, 0);
}
