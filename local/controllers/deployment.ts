/** Deployment: one ReplicaSet per template, rolled over within maxSurge and maxUnavailable. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey, type WorkQueue } from './controller.ts';
import { hashLabel, reportDeployment, revisionAnnotation } from './deployment-status.ts';
import { claim, controllerOf, ownedBy, scaled, templateHash } from './workload.ts';

function revisionOf(set: KubeObject): number {
  return Number(set.metadata.annotations?.[revisionAnnotation] ?? 0);
}

export async function reconcileDeployment(objects: Objects, key: string, queue: WorkQueue): Promise<void> {
  const { namespace, name } = splitKey(key);
  const deployment = objects.get(resources.deployments, name, namespace);
  if (!deployment || deployment.metadata.deletionTimestamp) return;
  const wanted: number = deployment.spec.replicas ?? 1;
  const hash = templateHash(deployment.spec.template);
  let sets = await claim(objects, resources.replicaSets, deployment);
  let current = sets.find((set) => set.metadata.labels?.[hashLabel] === hash);

  if (deployment.spec.paused) {
    // A paused roll-out stands still, but a change of the count is carried out.
    const newest = sets.find((set) => revisionOf(set) === Math.max(...sets.map(revisionOf)));
    const others = sets.filter((set) => set !== newest).reduce((sum, set) => sum + replicasOf(set), 0);
    if (newest) await scale(objects, newest, Math.max(0, wanted - others));
  } else {
    if (!current) {
      current = await objects.create(resources.replicaSets, newSet(deployment, hash, sets));
      sets = [...sets, current];
    }
    await raiseRevision(objects, current, sets);
    await roll(objects, deployment, current, sets, wanted);
    await prune(objects, deployment, current, sets);
  }
  await reportDeployment(objects, deployment, hash, queue);
}

function newSet(deployment: KubeObject, hash: string, others: KubeObject[]): KubeObject {
  const template = structuredClone(deployment.spec.template);
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  template.metadata = { ...template.metadata, labels };
  const selector = structuredClone(deployment.spec.selector);
  selector.matchLabels = { ...selector.matchLabels, [hashLabel]: hash };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace!,
      labels,
      annotations: { [revisionAnnotation]: String(Math.max(0, ...others.map(revisionOf)) + 1) },
      ownerReferences: [ownedBy(deployment)],
    },
    spec: { replicas: 0, minReadySeconds: deployment.spec.minReadySeconds ?? 0, selector, template },
  };
}

/** A rollback makes an old ReplicaSet the newest again. */
async function raiseRevision(objects: Objects, current: KubeObject, sets: KubeObject[]): Promise<void> {
  const newest = Math.max(0, ...sets.filter((set) => set !== current).map(revisionOf));
  if (revisionOf(current) > newest) return;
  const stored = objects.get(resources.replicaSets, current.metadata.name!, current.metadata.namespace);
  if (!stored) return;
  const next = structuredClone(stored);
  next.metadata.annotations = { ...next.metadata.annotations, [revisionAnnotation]: String(newest + 1) };
  await objects.update(resources.replicaSets, next);
}

async function scale(objects: Objects, set: KubeObject, replicas: number): Promise<void> {
  const stored = objects.get(resources.replicaSets, set.metadata.name!, set.metadata.namespace);
  if (!stored || stored.spec.replicas === replicas) return;
  const next = structuredClone(stored);
  next.spec.replicas = replicas;
  await objects.update(resources.replicaSets, next);
  const [before, owner] = [replicasOf(stored), controllerOf(stored)];
  const deployment = owner && objects.get(resources.deployments, owner.name, stored.metadata.namespace);
  if (!deployment) return;
  const direction = replicas > before ? 'up' : 'down';
  const message = `Scaled ${direction} replica set ${set.metadata.name} from ${before} to ${replicas}`;
  objects.event(deployment, 'Normal', 'ScalingReplicaSet', message);
}

const replicasOf = (set: KubeObject): number => set.spec.replicas ?? 0;
const availableOf = (set: KubeObject): number => set.status?.availableReplicas ?? 0;

async function roll(
  objects: Objects,
  deployment: KubeObject,
  current: KubeObject,
  sets: KubeObject[],
  wanted: number,
): Promise<void> {
  const old = sets.filter((set) => set.metadata.name !== current.metadata.name);
  const oldReplicas = old.reduce((sum, set) => sum + replicasOf(set), 0);
  const now = objects.get(resources.replicaSets, current.metadata.name!, current.metadata.namespace) ?? current;

  if (deployment.spec.strategy?.type === 'Recreate') {
    for (const set of old) await scale(objects, set, 0);
    const left = old.reduce((sum, set) => sum + (set.status?.replicas ?? 0), 0);
    await scale(objects, now, left === 0 && oldReplicas === 0 ? wanted : 0);
    return;
  }
  const limits = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = scaled(limits.maxSurge, wanted, true, '25%');
  let unavailable = scaled(limits.maxUnavailable, wanted, false, '25%');
  if (surge === 0 && unavailable === 0) unavailable = 1;

  if (replicasOf(now) > wanted) await scale(objects, now, wanted);
  else {
    const room = wanted + surge - oldReplicas - replicasOf(now);
    if (room > 0 && replicasOf(now) < wanted) await scale(objects, now, Math.min(wanted, replicasOf(now) + room));
  }
  // Pods of the new set that are not available yet do not count: taking old ones then would lose capacity.
  const available = sets.reduce((sum, set) => sum + availableOf(set), 0);
  const newReplicas =
    objects.get(resources.replicaSets, current.metadata.name!, current.metadata.namespace)?.spec.replicas ?? 0;
  const total = oldReplicas + newReplicas;
  let spare = Math.min(total - (wanted - unavailable) - (newReplicas - availableOf(now)), oldReplicas);
  // Old pods that are broken go first, whatever the count.
  for (const set of old) {
    const broken = Math.min(replicasOf(set) - availableOf(set), Math.max(0, spare));
    if (broken > 0) {
      await scale(objects, set, replicasOf(set) - broken);
      spare -= broken;
    }
  }
  let removable = Math.min(spare, available - (wanted - unavailable));
  for (const set of old) {
    if (removable <= 0) break;
    const stored = objects.get(resources.replicaSets, set.metadata.name!, set.metadata.namespace);
    const take = Math.min(stored ? replicasOf(stored) : 0, removable);
    if (stored && take > 0) {
      await scale(objects, stored, replicasOf(stored) - take);
      removable -= take;
    }
  }
}

async function prune(objects: Objects, deployment: KubeObject, current: KubeObject, sets: KubeObject[]): Promise<void> {
  const keep: number = deployment.spec.revisionHistoryLimit ?? 10;
  const idle = sets
    .filter(
      (set) =>
        set.metadata.name !== current.metadata.name && replicasOf(set) === 0 && (set.status?.replicas ?? 0) === 0,
    )
    .sort((a, b) => revisionOf(b) - revisionOf(a));
  for (const set of idle.slice(keep))
    await objects.delete(resources.replicaSets, set.metadata.name!, set.metadata.namespace);
}
