/** ReplicaSet: as many active pods as asked for. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey, type WorkQueue } from './controller.ts';
import { claim, condition, controlledBy, isActive, isAvailable, isReady, podFrom, podType } from './workload.ts';

/** Pods to give up first: not ready before ready, the youngest first. */
function byDispensability(a: KubeObject, b: KubeObject): number {
  const ready = Number(isReady(a)) - Number(isReady(b));
  return ready || (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '');
}

export async function reconcileReplicaSet(objects: Objects, key: string, queue: WorkQueue): Promise<void> {
  const { namespace, name } = splitKey(key);
  const set = objects.get(resources.replicaSets, name, namespace);
  if (!set || set.metadata.deletionTimestamp) return;
  const pods = await claim(objects, podType, set);
  const active = pods.filter(isActive);
  const wanted: number = set.spec.replicas ?? 1;

  for (let i = active.length; i < wanted; i++) {
    try {
      const pod = await objects.create(podType, podFrom(set, set.spec.template));
      objects.event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      objects.event(set, 'Warning', 'FailedCreate', (error as Error).message);
      throw error;
    }
  }
  for (const pod of [...active].sort(byDispensability).slice(0, Math.max(0, active.length - wanted))) {
    await objects.delete(podType, pod.metadata.name!, namespace);
    objects.event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
  }

  const now = controlledBy(objects, podType, set).filter(isActive);
  const minReady: number = set.spec.minReadySeconds ?? 0;
  await objects.updateStatus(resources.replicaSets, name, namespace, (status) => ({
    ...status,
    observedGeneration: set.metadata.generation,
    replicas: now.length,
    fullyLabeledReplicas: now.length,
    readyReplicas: now.filter(isReady).length,
    availableReplicas: now.filter((pod) => isAvailable(pod, minReady)).length,
  }));
  const waiting = now.filter((pod) => isReady(pod) && !isAvailable(pod, minReady));
  if (waiting.length > 0) {
    const first = Math.min(...waiting.map((pod) => Date.parse(condition(pod, 'Ready').lastTransitionTime)));
    queue.addAfter(key, Math.max(0, first + minReady * 1000 - Date.now()) + 100);
  }
}
