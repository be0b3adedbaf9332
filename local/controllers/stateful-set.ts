/** StatefulSet: pods with a number, started in order and replaced from the highest down. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey } from './controller.ts';
import { currentRevision, findRevision, type Revision, revisionLabel } from './revision.ts';
import { claim, controlledBy, isAvailable, isReady, podFrom, podType } from './workload.ts';

function ordinal(pod: KubeObject): number {
  return Number(pod.metadata.name!.slice(pod.metadata.name!.lastIndexOf('-') + 1));
}

export async function reconcileStatefulSet(objects: Objects, key: string): Promise<void> {
  const { namespace, name } = splitKey(key);
  const set = objects.get(resources.statefulSets, name, namespace);
  if (!set || set.metadata.deletionTimestamp) return;
  const wanted: number = set.spec.replicas ?? 1;
  const parallel = set.spec.podManagementPolicy === 'Parallel';
  const pods = new Map((await claim(objects, podType, set)).map((pod) => [ordinal(pod), pod]));
  const used = [...pods.values()].map((pod) => pod.metadata.labels?.[revisionLabel] ?? '');
  const update = await currentRevision(objects, set, [...used, set.status?.currentRevision ?? '']);
  // Below the partition a pod that went is made anew as it was.
  const current = findRevision(objects, set, set.status?.currentRevision) ?? update;
  const rolling = set.spec.updateStrategy?.type !== 'OnDelete';
  const partition: number = (rolling && set.spec.updateStrategy?.rollingUpdate?.partition) || 0;

  for (let i = 0; i < wanted; i++) {
    const pod = pods.get(i);
    if (!pod) {
      await objects.create(podType, numbered(set, i, rolling && i < partition ? current : update));
      objects.event(set, 'Normal', 'SuccessfulCreate', `create Pod ${name}-${i} in StatefulSet ${name} successful`);
      if (!parallel) break;
    } else if (pod.status?.phase === 'Failed' && !pod.metadata.deletionTimestamp) {
      await objects.delete(podType, pod.metadata.name!, namespace);
      if (!parallel) break;
    } else if (!parallel && (!isReady(pod) || pod.metadata.deletionTimestamp)) break;
  }
  const above = [...pods.values()].filter((pod) => ordinal(pod) >= wanted).sort((a, b) => ordinal(b) - ordinal(a));
  for (const pod of parallel ? above : above.slice(0, 1)) {
    if (!pod.metadata.deletionTimestamp) await objects.delete(podType, pod.metadata.name!, namespace);
  }
  const settled =
    pods.size === wanted && [...pods.values()].every((pod) => isReady(pod) && !pod.metadata.deletionTimestamp);
  if (settled && rolling) {
    const old = [...pods.values()]
      .filter((pod) => ordinal(pod) >= partition && pod.metadata.labels?.[revisionLabel] !== update.name)
      .sort((a, b) => ordinal(b) - ordinal(a))[0];
    if (old) await objects.delete(podType, old.metadata.name!, namespace);
  }

  const now = controlledBy(objects, podType, set);
  const of = (revision: string) => now.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision).length;
  const complete = of(update.name) === now.length && now.length === wanted && now.every(isReady);
  const minReady: number = set.spec.minReadySeconds ?? 0;
  await objects.updateStatus(resources.statefulSets, name, namespace, (status) => {
    const currentRevision = complete ? update.name : (status?.currentRevision ?? update.name);
    return {
      ...status,
      observedGeneration: set.metadata.generation,
      replicas: now.length,
      readyReplicas: now.filter(isReady).length,
      availableReplicas: now.filter((pod) => isAvailable(pod, minReady)).length,
      currentReplicas: of(currentRevision),
      updatedReplicas: of(update.name),
      currentRevision,
      updateRevision: update.name,
      collisionCount: 0,
    };
  });
}

function numbered(set: KubeObject, index: number, revision: Revision): KubeObject {
  const name = `${set.metadata.name}-${index}`;
  const pod = podFrom(set, revision.template, {
    name,
    labels: {
      'statefulset.kubernetes.io/pod-name': name,
      'apps.kubernetes.io/pod-index': String(index),
      [revisionLabel]: revision.name,
    },
  });
  pod.spec.hostname = name;
  pod.spec.subdomain = set.spec.serviceName;
  return pod;
}
