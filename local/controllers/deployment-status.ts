/** A Deployment's status: counts of its pods, whether it is available, whether its roll-out gets on. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import type { WorkQueue } from './controller.ts';
import { condition, controlledBy, scaled, withCondition } from './workload.ts';

export const hashLabel = 'pod-template-hash';
export const revisionAnnotation = 'deployment.kubernetes.io/revision';
const defaultDeadline = 600;

interface Counts {
  replicas: number;
  updatedReplicas: number;
  readyReplicas: number;
  availableReplicas: number;
}

export async function reportDeployment(
  objects: Objects,
  deployment: KubeObject,
  hash: string,
  queue: WorkQueue,
): Promise<void> {
  const { name, namespace, generation } = deployment.metadata;
  const wanted: number = deployment.spec.replicas ?? 1;
  const sets = controlledBy<KubeObject>(objects, resources.replicaSets, deployment);
  const current = sets.find((set) => set.metadata.labels?.[hashLabel] === hash);
  await copyRevision(objects, deployment, current);
  const sum = (field: string): number => sets.reduce((total, set) => total + (set.status?.[field] ?? 0), 0);
  const counts: Counts = {
    replicas: sum('replicas'),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: sum('availableReplicas'),
  };
  const stored = await objects.updateStatus(resources.deployments, name!, namespace, (status: Json) => ({
    ...status,
    observedGeneration: generation,
    ...counts,
    unavailableReplicas: Math.max(0, wanted - counts.availableReplicas),
    conditions: progressing(available(status?.conditions, deployment, counts), status, deployment, counts, current),
  }));
  const state = stored && condition(stored, 'Progressing');
  if (state?.status === 'True' && state.reason !== 'NewReplicaSetAvailable' && !deployment.spec.paused) {
    const deadline = (deployment.spec.progressDeadlineSeconds ?? defaultDeadline) * 1000;
    const left = Date.parse(state.lastUpdateTime) + deadline - Date.now();
    queue.addAfter(`${namespace}/${name}`, Math.max(0, left) + 1000);
  }
}

async function copyRevision(objects: Objects, deployment: KubeObject, current: KubeObject | undefined): Promise<void> {
  const revision = current?.metadata.annotations?.[revisionAnnotation];
  const stored = objects.get(resources.deployments, deployment.metadata.name!, deployment.metadata.namespace);
  if (!stored || !revision || stored.metadata.annotations?.[revisionAnnotation] === revision) return;
  const next = structuredClone(stored);
  next.metadata.annotations = { ...next.metadata.annotations, [revisionAnnotation]: revision };
  await objects.update(resources.deployments, next);
}

function available(conditions: Json[] | undefined, deployment: KubeObject, counts: Counts): Json[] {
  const wanted: number = deployment.spec.replicas ?? 1;
  const { type, rollingUpdate } = deployment.spec.strategy ?? {};
  const unavailable = type === 'Recreate' ? 0 : scaled(rollingUpdate?.maxUnavailable, wanted, false, '25%');
  const enough = counts.availableReplicas >= wanted - unavailable;
  return withCondition(conditions, {
    type: 'Available',
    status: enough ? 'True' : 'False',
    reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    message: `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
  });
}

function progressing(
  conditions: Json[],
  before: Json,
  deployment: KubeObject,
  counts: Counts,
  current: KubeObject | undefined,
): Json[] {
  const wanted: number = deployment.spec.replicas ?? 1;
  const old = conditions.find((one) => one.type === 'Progressing');
  const set = current ? `ReplicaSet "${current.metadata.name}"` : 'The deployment';
  const state = (status: string, reason: string, message: string): Json[] =>
    withCondition(conditions, { type: 'Progressing', status, reason, message });
  if (deployment.spec.paused) return state('Unknown', 'DeploymentPaused', 'Deployment is paused');
  const complete =
    counts.updatedReplicas === wanted && counts.replicas === wanted && counts.availableReplicas === wanted;
  if (complete) return state('True', 'NewReplicaSetAvailable', `${set} has successfully progressed.`);
  const moved =
    before?.observedGeneration !== deployment.metadata.generation ||
    counts.updatedReplicas > (before?.updatedReplicas ?? 0) ||
    counts.replicas - counts.updatedReplicas < (before?.replicas ?? 0) - (before?.updatedReplicas ?? 0) ||
    counts.readyReplicas > (before?.readyReplicas ?? 0) ||
    counts.availableReplicas > (before?.availableReplicas ?? 0);
  if (moved || !old) {
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    return state('True', 'ReplicaSetUpdated', `${set} is progressing.`).map((one) =>
      one.type === 'Progressing' ? { ...one, lastUpdateTime: now } : one,
    );
  }
  // Lost pods of a finished roll-out are no roll-out.
  if (old.reason === 'NewReplicaSetAvailable' || old.status === 'False') return conditions;
  const deadline: number = deployment.spec.progressDeadlineSeconds ?? defaultDeadline;
  if (Date.now() - Date.parse(old.lastUpdateTime) < deadline * 1000) return conditions;
  return state('False', 'ProgressDeadlineExceeded', `${set} has timed out progressing.`);
}
