/** Job: pods until enough have succeeded, or too many failed. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey, type WorkQueue } from './controller.ts';
import { condition, controlledBy, isActive, isReady, podFrom, podType, withCondition } from './workload.ts';

const firstRetryMs = 10_000;
const lastRetryMs = 360_000;

export async function reconcileJob(objects: Objects, key: string, queue: WorkQueue): Promise<void> {
  const { namespace, name } = splitKey(key);
  const job = objects.get(resources.jobs, name, namespace);
  if (!job || job.metadata.deletionTimestamp) return;
  const finished = condition(job, 'Complete')?.status === 'True' || condition(job, 'Failed')?.status === 'True';
  if (finished) return expire(objects, job, queue);

  const pods = controlledBy<KubeObject>(objects, podType, job);
  const succeeded = pods.filter((pod) => pod.status?.phase === 'Succeeded').length;
  const failed = pods.filter((pod) => pod.status?.phase === 'Failed').length;
  // Where containers are started anew in their pod, each of those starts was a failure.
  const tries = failed + pods.reduce((sum, pod) => sum + restartsOf(pod), 0);
  const active = pods.filter(isActive);
  const parallelism: number = job.spec.parallelism ?? 1;
  const completions: number | undefined = job.spec.completions ?? (job.spec.parallelism === undefined ? 1 : undefined);
  const done = completions === undefined ? succeeded > 0 && active.length === 0 : succeeded >= completions;
  const deadline: number | undefined = job.spec.activeDeadlineSeconds;
  const started = job.status?.startTime ? Date.parse(job.status.startTime) : Date.now();
  const late = deadline !== undefined && Date.now() - started > deadline * 1000;
  const given = late || tries > (job.spec.backoffLimit ?? 6);

  if (done || given || job.spec.suspend) {
    for (const pod of active) await objects.delete(podType, pod.metadata.name!, namespace);
  } else {
    if (deadline !== undefined) queue.addAfter(key, started + deadline * 1000 - Date.now() + 100);
    const wanted =
      completions === undefined ? (succeeded > 0 ? 0 : parallelism) : Math.min(parallelism, completions - succeeded);
    const lastFailure = Math.max(0, ...pods.filter((pod) => pod.status?.phase === 'Failed').map(endOf));
    const wait = failed === 0 ? 0 : lastFailure + Math.min(firstRetryMs * 2 ** (failed - 1), lastRetryMs) - Date.now();
    if (active.length < wanted && wait > 0) queue.addAfter(key, wait);
    else {
      for (let i = active.length; i < wanted; i++) {
        const pod = await objects.create(podType, podFrom(job, job.spec.template, { labels: jobLabels(job) }));
        objects.event(job, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
      }
    }
  }
  await objects.updateStatus(resources.jobs, name, namespace, (status: Json) => {
    const now = controlledBy<KubeObject>(objects, podType, job).filter(isActive);
    const next = {
      ...status,
      startTime: status?.startTime ?? timestamp(),
      active: done || given ? 0 : now.length,
      ready: now.filter(isReady).length,
      succeeded,
      failed,
    };
    if (job.spec.suspend && !done && !given) {
      next.conditions = withCondition(status?.conditions, {
        type: 'Suspended',
        status: 'True',
        reason: 'JobSuspended',
        message: 'Job suspended',
      });
    } else if (condition(job, 'Suspended')?.status === 'True') {
      next.conditions = withCondition(status?.conditions, {
        type: 'Suspended',
        status: 'False',
        reason: 'JobResumed',
        message: 'Job resumed',
      });
    }
    if (done) {
      next.completionTime = timestamp();
      next.conditions = withCondition(next.conditions, {
        type: 'Complete',
        status: 'True',
        reason: 'CompletionsReached',
        message: 'Reached expected number of succeeded pods',
      });
    } else if (given) {
      next.conditions = withCondition(next.conditions, {
        type: 'Failed',
        status: 'True',
        reason: late ? 'DeadlineExceeded' : 'BackoffLimitExceeded',
        message: late ? 'Job was active longer than specified deadline' : 'Job has reached the specified backoff limit',
      });
    }
    return next;
  });
}

async function expire(objects: Objects, job: KubeObject, queue: WorkQueue): Promise<void> {
  const ttl: number | undefined = job.spec.ttlSecondsAfterFinished;
  if (ttl === undefined) return;
  const ends = Math.max(...(job.status?.conditions ?? []).map((entry: Json) => Date.parse(entry.lastTransitionTime)));
  const left = ends + ttl * 1000 - Date.now();
  if (left > 0) queue.addAfter(`${job.metadata.namespace}/${job.metadata.name}`, left + 50);
  else await objects.delete(resources.jobs, job.metadata.name!, job.metadata.namespace, { propagation: 'Background' });
}

function restartsOf(pod: KubeObject): number {
  if (pod.spec.restartPolicy !== 'OnFailure') return 0;
  return (pod.status?.containerStatuses ?? []).reduce((sum: number, one: Json) => sum + (one.restartCount ?? 0), 0);
}

function endOf(pod: KubeObject): number {
  const times = (pod.status?.containerStatuses ?? []).map(
    (entry: Json) => Date.parse(entry.state?.terminated?.finishedAt ?? '') || 0,
  );
  return Math.max(Date.parse(pod.metadata.creationTimestamp ?? '') || 0, ...times);
}

function jobLabels(job: KubeObject): Record<string, string> {
  return {
    'batch.kubernetes.io/job-name': job.metadata.name!,
    'batch.kubernetes.io/controller-uid': job.metadata.uid!,
    'job-name': job.metadata.name!,
    'controller-uid': job.metadata.uid!,
  };
}

export function timestamp(date = new Date()): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
