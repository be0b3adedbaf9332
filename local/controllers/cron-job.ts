/** CronJob: a Job at each time its schedule names (five fields, as crontab(5)), in its time zone, else UTC. */
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
export function firesAt(schedule: string, date: Date, timeZone = 'UTC'): boolean | undefined {
  const fields = (macros[schedule.trim()] ?? schedule).trim().split(/\s+/);
  if (fields.length !== 5) return undefined;
  const sets = fields.map((field, index) => fieldValues(field, ranges[index]!));
  if (sets.some((set) => !set)) return undefined;
  const [minute, hour, day, month, weekday] = sets as Set<number>[];
  const local = inZone(date, timeZone);
  const dayOfWeek = local.getUTCDay();
  const dayFits = day!.has(local.getUTCDate());
  const weekdayFits = weekday!.has(dayOfWeek) || (dayOfWeek === 0 && weekday!.has(7));
  // Where both are restricted, either is enough: crontab(5).
  const anyDay = fields[2] === '*' || fields[4] === '*' ? dayFits && weekdayFits : dayFits || weekdayFits;
  return (
    minute!.has(local.getUTCMinutes()) &&
    hour!.has(local.getUTCHours()) &&
    month!.has(local.getUTCMonth() + 1) &&
    anyDay
  );
}

/** A date whose UTC fields are those that a clock in the zone shows. @throws RangeError for a zone that is unknown */
function inZone(date: Date, timeZone: string): Date {
  if (timeZone === 'UTC') return date;
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  }).formatToParts(date);
  const part = (type: string): number => Number(parts.find((one) => one.type === type)!.value);
  return new Date(Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute')));
}

const minuteMs = 60_000;
/** How far back a run that was missed, as while the mesh was stopped, is looked for. */
const furthestBack = 24 * 60;

/** The last time after `since` at which the schedule fired; undefined where there is none, or the schedule is wrong. */
export function lastFiring(schedule: string, timeZone: string, since: number, now: number): Date | undefined {
  const minute = Math.floor(now / minuteMs) * minuteMs;
  for (let back = 0; back < furthestBack; back++) {
    const date = new Date(minute - back * minuteMs);
    if (date.getTime() <= since) return undefined;
    if (firesAt(schedule, date, timeZone)) return date;
  }
  return undefined;
}

export async function reconcileCronJob(objects: Objects, key: string, queue: WorkQueue): Promise<void> {
  const { namespace, name } = splitKey(key);
  const cron = objects.get(resources.cronJobs, name, namespace);
  if (!cron || cron.metadata.deletionTimestamp) return;
  const now = Date.now();
  queue.addAfter(key, minuteMs - (now % minuteMs) + 50);
  const zone: string = cron.spec.timeZone ?? 'UTC';
  const problem = scheduleProblem(cron.spec.schedule, zone);
  if (problem) {
    objects.event(cron, 'Warning', 'UnparseableSchedule', problem);
    return;
  }
  let active = controlledBy(objects, resources.jobs, cron).filter((job) => !ended(job));
  const since = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp ?? '') || 0;
  const due = cron.spec.suspend ? undefined : lastFiring(cron.spec.schedule, zone, since, now);
  const late = due && now - due.getTime() > (cron.spec.startingDeadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000;
  if (late)
    objects.event(cron, 'Warning', 'MissSchedule', `Missed scheduled time to start a job: ${due.toUTCString()}`);
  if (due && !late) {
    if (cron.spec.concurrencyPolicy === 'Replace') {
      for (const job of active)
        await objects.delete(resources.jobs, job.metadata.name!, namespace, { propagation: 'Background' });
      active = [];
    }
    if (active.length === 0 || cron.spec.concurrencyPolicy !== 'Forbid') await startJob(objects, cron, due);
  }
  await trim(objects, cron);
}

async function startJob(objects: Objects, cron: KubeObject, due: Date): Promise<void> {
  const { name, namespace } = cron.metadata;
  const jobName = `${name}-${due.getTime() / minuteMs}`;
  // It is there where the daemon died before it wrote the status.
  if (!objects.get(resources.jobs, jobName, namespace)) {
    const { metadata, spec } = structuredClone(cron.spec.jobTemplate);
    await objects.create(resources.jobs, {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { ...metadata, name: jobName, namespace, ownerReferences: [ownedBy(cron)] },
      spec,
    });
    objects.event(cron, 'Normal', 'SuccessfulCreate', `Created job ${jobName}`);
  }
  await objects.updateStatus(resources.cronJobs, name!, namespace, (status) => ({
    ...status,
    lastScheduleTime: timestamp(due),
  }));
}

function scheduleProblem(schedule: string, zone: string): string | undefined {
  try {
    return firesAt(schedule, new Date(), zone) === undefined ? `unparseable schedule: ${schedule}` : undefined;
  } catch {
    return `unknown time zone ${zone}`;
  }
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
