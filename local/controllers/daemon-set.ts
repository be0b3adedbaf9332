/** DaemonSet: one pod on each node; the local mesh has one node. */
import { resources } from '../../kube/resources.ts';
import type { Objects } from '../objects.ts';
import { splitKey } from './controller.ts';
import { currentRevision, revisionLabel } from './revision.ts';
import { claim, controlledBy, isActive, isReady, podFrom, podType } from './workload.ts';

export async function reconcileDaemonSet(objects: Objects, key: string): Promise<void> {
  const { namespace, name } = splitKey(key);
  const set = objects.get(resources.daemonSets, name, namespace);
  if (!set || set.metadata.deletionTimestamp) return;
  const pods = (await claim(objects, podType, set)).filter(isActive);
  const used = pods.map((pod) => pod.metadata.labels?.[revisionLabel] ?? '');
  const { name: revision } = await currentRevision(objects, set, used);
  const old = pods.filter((pod) => pod.metadata.labels?.[revisionLabel] !== revision);
  if (set.spec.updateStrategy?.type !== 'OnDelete') {
    for (const pod of old) await objects.delete(podType, pod.metadata.name!, namespace);
  }
  const terminating = controlledBy(objects, podType, set).some((pod) => pod.metadata.deletionTimestamp);
  if (pods.length === 0 && !terminating) {
    await objects.create(podType, podFrom(set, set.spec.template, { labels: { [revisionLabel]: revision } }));
  }
  const now = controlledBy(objects, podType, set).filter(isActive);
  const ready = now.filter(isReady).length;
  await objects.updateStatus(resources.daemonSets, name, namespace, (status) => ({
    ...status,
    observedGeneration: set.metadata.generation,
    desiredNumberScheduled: 1,
    currentNumberScheduled: now.length,
    numberMisscheduled: 0,
    numberReady: ready,
    numberAvailable: ready,
    numberUnavailable: 1 - ready,
    updatedNumberScheduled: now.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision).length,
  }));
}
