/** CronJob: a Job at each time its schedule names (UTC, five fields, as crontab(5)). */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { splitKey, type WorkQueue } from './controller.ts';
import { timestamp } from './job.ts';
import { condition, controlledBy, ownedBy } from './workload.ts';

const macros: Record<string, string> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};
const ranges: [number, number][] = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 7],
];

/** The values of one crontab field, or undefined where it is malformed. */
function fieldValues(text: string, [low, high]: [number, number]): Set<number> | undefined {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\*|\d+)(?:-(\d+))?(?:\/(\d+))?$/.exec(part);
    if (!match) return undefined;
    const start = match[1] === '*' ? low : Number(match[1]);
    const end = match[2] !== undefined ? Number(match[2]) : match[1] === '*' || match[3] !== undefined ? high : start;
    const step = Number(match[3] ?? 1);
    if (start < low || end > high || step < 1 || start > end) return undefined;
    for (let value = start; value <= end; value += step) values.add(value);
  }
  return values;
}

/** Whether a schedule fires in the minute of a date; undefined where the schedule is malformed. */
export function firesAt(schedule: string, date: Date): boolean | undefined {
  const fields = (macros[schedule.trim()] ?? schedule).trim().split(/\s+/);
  if (fields.length !== 5) return undefined;
  const sets = fields.map((field, index) => fieldValues(field, ranges[index]!));
  if (sets.some((set) => !set)) return undefined;
  const [minute, hour, day, month, weekday] = sets as Set<number>[];
  const dayOfWeek = date.getUTCDay();
  const dayFits = day!.has(date.getUTCDate());
  const weekdayFits = weekday!.has(dayOfWeek) || (dayOfWeek === 0 && weekday!.has(7));
  // Where both are restricted, either is enough: crontab(5).
  const anyDay = fields[2] === '*' || fields[4] === '*' ? dayFits && weekdayFits : dayFits || weekdayFits;
  return (
    minute!.has(date.getUTCMinutes()) && hour!.has(date.getUTCHours()) && month!.has(date.getUTCMonth() + 1) && anyDay
  );
}

export async function reconcileCronJob(objects: Objects, key: string, queue: WorkQueue): Promise<void> {
  const { namespace, name } = splitKey(key);
  const cron = objects.get(resources.cronJobs, name, namespace);
  if (!cron || cron.metadata.deletionTimestamp) return;
  const now = new Date();
  const minute = new Date(Math.floor(now.getTime() / 60_000) * 60_000);
  queue.addAfter(key, 60_000 - (now.getTime() % 60_000) + 50);
  const fires = firesAt(cron.spec.schedule, minute);
  if (fires === undefined) {
    objects.event(cron, 'Warning', 'UnparseableSchedule', `unparseable schedule: ${cron.spec.schedule}`);
    return;
  }
  let active = controlledBy(objects, resources.jobs, cron).filter((job) => !ended(job));
  const last = Date.parse(cron.status?.lastScheduleTime ?? '') || 0;
  if (
    fires &&
    !cron.spec.suspend &&
    last < minute.getTime() &&
    Date.parse(cron.metadata.creationTimestamp ?? '') <= minute.getTime() + 59_999
  ) {
    if (cron.spec.concurrencyPolicy === 'Replace') {
      for (const job of active)
        await objects.delete(resources.jobs, job.metadata.name!, namespace, { propagation: 'Background' });
      active = [];
    }
    if (active.length === 0 || cron.spec.concurrencyPolicy !== 'Forbid') {
      const template = structuredClone(cron.spec.jobTemplate);
      const job = await objects.create(resources.jobs, {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: {
          ...template.metadata,
          name: `${name}-${Math.floor(minute.getTime() / 60_000)}`,
          namespace,
          ownerReferences: [ownedBy(cron)],
        },
        spec: template.spec,
      });
      objects.event(cron, 'Normal', 'SuccessfulCreate', `Created job ${job.metadata.name}`);
    }
    await objects.updateStatus(resources.cronJobs, name, namespace, (status) => ({
      ...status,
      lastScheduleTime: timestamp(minute),
    }));
  }
  await trim(objects, cron);
}

const ended = (job: KubeObject): boolean =>
  condition(job, 'Complete')?.status === 'True' || condition(job, 'Failed')?.status === 'True';

async function trim(objects: Objects, cron: KubeObject): Promise<void> {
  const jobs = controlledBy(objects, resources.jobs, cron).sort((a, b) =>
    b.metadata.name!.localeCompare(a.metadata.name!),
  );
  const limits: [string, number][] = [
    ['Complete', cron.spec.successfulJobsHistoryLimit ?? 3],
    ['Failed', cron.spec.failedJobsHistoryLimit ?? 1],
  ];
  for (const [type, keep] of limits) {
    for (const job of jobs.filter((entry) => condition(entry, type)?.status === 'True').slice(keep)) {
      await objects.delete(resources.jobs, job.metadata.name!, job.metadata.namespace, { propagation: 'Background' });
    }
  }
  await objects.updateStatus(resources.cronJobs, cron.metadata.name!, cron.metadata.namespace, (status) => ({
    ...status,
    active: jobs
      .filter((job) => !ended(job))
      .map((job) => ({
        apiVersion: 'batch/v1',
        kind: 'Job',
        name: job.metadata.name,
        namespace: job.metadata.namespace,
        uid: job.metadata.uid,
      })),
  }));
}
