/** StatefulSet: pods with a number, started in order and replaced from the highest down. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey } from './controller.ts';
import { claim, controlledBy, isReady, podFrom, podType, templateHash } from './workload.ts';

const revisionLabel = 'controller-revision-hash';

function ordinal(pod: KubeObject): number {
  return Number(pod.metadata.name!.slice(pod.metadata.name!.lastIndexOf('-') + 1));
}

export async function reconcileStatefulSet(objects: Objects, key: string): Promise<void> {
  const { namespace, name } = splitKey(key);
  const set = objects.get(resources.statefulSets, name, namespace);
  if (!set || set.metadata.deletionTimestamp) return;
  const wanted: number = set.spec.replicas ?? 1;
  const revision = `${name}-${templateHash(set.spec.template)}`;
  const parallel = set.spec.podManagementPolicy === 'Parallel';
  const pods = new Map((await claim(objects, podType, set)).map((pod) => [ordinal(pod), pod]));

  for (let i = 0; i < wanted; i++) {
    const pod = pods.get(i);
    if (!pod) {
      await objects.create(podType, numbered(set, i, revision));
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
  if (settled && set.spec.updateStrategy?.type !== 'OnDelete') {
    const partition: number = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    const old = [...pods.values()]
      .filter((pod) => ordinal(pod) >= partition && pod.metadata.labels?.[revisionLabel] !== revision)
      .sort((a, b) => ordinal(b) - ordinal(a))[0];
    if (old) await objects.delete(podType, old.metadata.name!, namespace);
  }

  const now = controlledBy(objects, podType, set);
  const updated = now.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision);
  await objects.updateStatus(resources.statefulSets, name, namespace, (status) => ({
    ...status,
    observedGeneration: set.metadata.generation,
    replicas: now.length,
    readyReplicas: now.filter(isReady).length,
    availableReplicas: now.filter(isReady).length,
    currentReplicas: updated.length,
    updatedReplicas: updated.length,
    currentRevision: updated.length === now.length ? revision : (status?.currentRevision ?? revision),
    updateRevision: revision,
    collisionCount: 0,
  }));
}

function numbered(set: KubeObject, index: number, revision: string): KubeObject {
  const name = `${set.metadata.name}-${index}`;
  const pod = podFrom(set, set.spec.template, {
    name,
    labels: {
      'statefulset.kubernetes.io/pod-name': name,
      'apps.kubernetes.io/pod-index': String(index),
      [revisionLabel]: revision,
    },
  });
  pod.spec.hostname = name;
  pod.spec.subdomain = set.spec.serviceName;
  return pod;
}
