/** Workloads that are restarted for a proxy, one at a time: which can be, and whether that harms them. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../kube/types.ts';
import type { StatResponse } from '../protocol/api.ts';
import { proxyContainer } from '../protocol/names.ts';
import type { ControlApi } from './control-api.ts';
import { CliError } from './errors.ts';

const types: Record<string, ResourceType> = {
  deployment: resources.deployments,
  statefulset: resources.statefulSets,
  daemonset: resources.daemonSets,
};
const restartAnnotation = 'mesh.dev/restarted-at';
/** Proxies report every few seconds: what the last new pod does shows only after it is ready. */
const settleMs = 8_000;
/** Success may be this much lower than before while a workload rolls. */
const tolerance = 0.02;

/** A workload of which some pods want another proxy. */
export interface Workload {
  namespace: string;
  /** `deployment/web`. */
  title: string;
  pods: number;
  /** undefined where a restart cannot help, for the reason given. */
  object?: KubeObject;
  type?: ResourceType;
  reason?: string;
}

/** One entry for all pods of a workload, in one order, each with its object where it can be restarted. */
export async function workloadsOf(
  kube: KubeClient,
  pods: readonly { namespace: string; title: string }[],
): Promise<Workload[]> {
  const found = new Map<string, Workload>();
  for (const { namespace, title } of pods) {
    const known = found.get(`${namespace}/${title}`);
    if (known) known.pods++;
    else found.set(`${namespace}/${title}`, { namespace, title, pods: 1 });
  }
  const workloads = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
  return Promise.all(workloads.map((one) => withObject(kube, one)));
}

export const workloadTitle = ({ title, namespace }: Workload): string => `${title} in namespace ${namespace}`;

/** What to do about pods that no controller makes anew. */
function advice(kind: string): string {
  if (kind === 'pod') return 'a pod alone is not restarted: delete it and apply its manifest again';
  if (kind === 'job') return 'a job is not restarted: let it end, or delete it and apply its manifest again';
  return `a ${kind} is not restarted: delete its pods, and new ones come`;
}

async function withObject(kube: KubeClient, workload: Workload): Promise<Workload> {
  const [kind = '', name = ''] = workload.title.split('/');
  const type = types[kind];
  const object = type && (await kube.find(type, name, workload.namespace));
  if (!object) return { ...workload, reason: advice(kind) };
  const containers: Json[] = object.spec.template.spec.initContainers ?? [];
  if (containers.some((one) => one.name === proxyContainer))
    return { ...workload, reason: 'its manifest holds the proxy: run `mesh inject` on it again and apply it' };
  return { ...workload, object, type };
}

function isRolled({ kind, metadata, spec, status = {} }: KubeObject): boolean {
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false;
  if (kind === 'DaemonSet') {
    const wanted = status.desiredNumberScheduled ?? 0;
    return (status.updatedNumberScheduled ?? 0) >= wanted && (status.numberAvailable ?? 0) >= wanted;
  }
  const wanted = spec.replicas ?? 1;
  const updated = status.updatedReplicas ?? 0;
  return updated >= wanted && (status.replicas ?? 0) <= updated && (status.availableReplicas ?? 0) >= wanted;
}

interface Sample {
  success: number;
  requests: number;
}

/** Of the last ten seconds; undefined without requests. */
async function sample(api: ControlApi, { namespace, title }: Workload): Promise<Sample | undefined> {
  const [kind = '', name = ''] = title.split('/');
  const query = new URLSearchParams({ kind, name, namespace, window: '10' });
  const { rows } = await api.get<StatResponse>(`/v1/stat?${query}`);
  const { success = null, requests_per_second: rate = null } = rows[0] ?? {};
  return success === null || rate === null ? undefined : { success, requests: rate * 10 };
}

/** Whether success fell by more than the tolerance, and more than chance explains (three standard errors). */
export function hasFallen(before: Sample, now: Sample): boolean {
  const { success } = before;
  const chance = 3 * Math.sqrt((success * (1 - success)) / Math.max(1, now.requests));
  return now.success < success - Math.max(tolerance, chance);
}

/**
 * Rolls one workload and waits until its pods are new, watching its success rate.
 * @throws CliError `restart-stopped` where that drops, `restart-timeout` where the roll takes too long
 */
export async function restart(
  kube: KubeClient,
  api: ControlApi,
  workload: Workload,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, title, type, object } = workload;
  const name = object!.metadata.name!;
  const before = await sample(api, workload);
  const annotations = { [restartAnnotation]: new Date().toISOString() };
  await kube.patch(type!, name, namespace, { spec: { template: { metadata: { annotations } } } });
  const deadline = performance.now() + timeoutMs;
  let rolledAt: number | undefined;
  for (;;) {
    if (isRolled({ ...(await kube.get(type!, name, namespace)), kind: type!.kind })) {
      rolledAt ??= performance.now();
      if (!before || performance.now() - rolledAt > settleMs) return;
    }
    const now = await sample(api, workload);
    if (before && now && hasFallen(before, now)) {
      throw new CliError({
        code: 'restart-stopped',
        message: `The success rate of ${workloadTitle(workload)} fell from ${percent(before.success)} to ${percent(now.success)} while it restarted; no other workload was restarted`,
        fix: `Look at \`mesh stat ${title} -n ${namespace}\`, and run the command again when it is well.`,
      });
    }
    if (rolledAt === undefined && performance.now() > deadline) {
      throw new CliError({
        code: 'restart-timeout',
        message: `${workloadTitle(workload)} is not rolled out in time; no other workload was restarted`,
        fix: `Look at \`kubectl -n ${namespace} rollout status ${title}\`.`,
      });
    }
    await delay(500, undefined, { signal });
  }
}

const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;
