/** Pods whose proxy is of another version than the control plane, and the workloads to restart for a new one. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../kube/types.ts';
import type { StatResponse } from '../protocol/api.ts';
import { meshedLabel, proxyContainer, proxyVersionAnnotation, workloadAnnotation } from '../protocol/names.ts';
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

export interface OldWorkload {
  namespace: string;
  /** `deployment/web`. */
  title: string;
  pods: number;
  /** undefined where a restart by this command cannot help, for the reason given. */
  object?: KubeObject;
  type?: ResourceType;
  reason?: string;
}

/** Workloads of pods that run and whose proxy is not of this version, in one order. */
export async function oldWorkloads(kube: KubeClient, version: string): Promise<OldWorkload[]> {
  const pods = await kube.list(resources.pods, { labelSelector: `${meshedLabel}=enabled` });
  const found = new Map<string, OldWorkload>();
  for (const { metadata, status } of pods) {
    if (metadata.deletionTimestamp || status?.phase === 'Succeeded' || status?.phase === 'Failed') continue;
    if (metadata.annotations?.[proxyVersionAnnotation] === version) continue;
    const namespace = metadata.namespace!;
    const title = metadata.annotations?.[workloadAnnotation] ?? `pod/${metadata.name}`;
    const known = found.get(`${namespace}/${title}`);
    if (known) known.pods++;
    else found.set(`${namespace}/${title}`, { namespace, title, pods: 1 });
  }
  const workloads = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
  return Promise.all(workloads.map((one) => withObject(kube, one)));
}

async function withObject(kube: KubeClient, workload: OldWorkload): Promise<OldWorkload> {
  const [kind = '', name = ''] = workload.title.split('/');
  const type = types[kind];
  const object = type && (await kube.find(type, name, workload.namespace));
  if (!object) return { ...workload, reason: `a ${kind} gets a new proxy when its pods are made anew` };
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
async function sample(api: ControlApi, { namespace, title }: OldWorkload): Promise<Sample | undefined> {
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
  workload: OldWorkload,
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
        message: `The success rate of ${title} in namespace ${namespace} fell from ${percent(before.success)} to ${percent(now.success)} while it restarted; no other workload was restarted`,
        fix: `Look at \`mesh stat ${title} -n ${namespace}\`, and run the command again when it is well.`,
      });
    }
    if (rolledAt === undefined && performance.now() > deadline) {
      throw new CliError({
        code: 'restart-timeout',
        message: `${title} in namespace ${namespace} is not rolled out in time; no other workload was restarted`,
        fix: `Look at \`kubectl -n ${namespace} rollout status ${title}\`.`,
      });
    }
    await delay(500, undefined, { signal });
  }
}

const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;
