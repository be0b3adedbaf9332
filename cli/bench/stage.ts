/** Brings the copies and load generators of a plan up, and takes them away again. */
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { isReadyPod } from '../control-pods.ts';
import { formatDuration } from '../duration.ts';
import { CliError } from '../errors.ts';
import { objectTitle } from '../objects.ts';
import { deploymentTrouble, podTrouble, type Trouble } from '../pod-trouble.ts';
import { isMeshed } from '../proxy-admin.ts';
import { isRolledOut } from '../wait-for-control.ts';
import { type Wait, waitUntil } from '../wait-until.ts';
import { type BenchPlan, type Mode, modes, selectorOf, untilAnnotation } from './plan.ts';

const goneMs = 20_000;
const types: Record<string, ResourceType> = {
  Service: resources.services,
  Deployment: resources.deployments,
  Pod: resources.pods,
};

/** The pods of one mode, all of them ready. */
export interface StagePods {
  servers: KubeObject[];
  load: KubeObject;
  /** Address of the Service in front of the servers. */
  host: string;
}

/**
 * Removes what an earlier command left behind when it was killed.
 * @throws CliError `bench-running` where another measurement of the same workload is under way
 */
export async function removeOld(kube: KubeClient, plan: BenchPlan, now: Date): Promise<number> {
  const options = { namespace: plan.namespace, labelSelector: selectorOf(plan.name) };
  const owned = [resources.services, resources.deployments, resources.pods].map((type) => kube.list(type, options));
  const found = (await Promise.all(owned)).flat().filter((one) => one.metadata.annotations?.[untilAnnotation]);
  const until = found.map((one) => one.metadata.annotations![untilAnnotation]!).sort();
  const last = until.at(-1);
  if (last === undefined) return 0;
  if (Date.parse(last) > now.getTime())
    throw new CliError({
      code: 'bench-running',
      message: `A measurement of ${plan.name} in namespace ${plan.namespace} is under way, or was killed: it may take until ${last}`,
      fix: `Wait for it; if it was killed, \`kubectl delete deploy,svc,pod -n ${plan.namespace} -l ${selectorOf(plan.name)}\`.`,
    });
  await remove(kube, { ...plan, objects: found });
  return found.length;
}

export async function create(kube: KubeClient, plan: BenchPlan): Promise<void> {
  for (const object of plan.objects) await kube.create(types[object.kind]!, object);
}

/** @throws CliError `bench-timeout` that says what was waited for, `not-meshed` where a pod came without its proxy */
export async function ready(kube: KubeClient, plan: BenchPlan, wait: Wait): Promise<Record<Mode, StagePods>> {
  const { namespace } = plan;
  await waitUntil(
    wait,
    async () => {
      const states = await Promise.all(
        modes.map(async (mode) => {
          const { server, load } = plan.names[mode];
          const deployment = await kube.get(resources.deployments, server, namespace);
          const pod = await kube.get(resources.pods, load, namespace);
          return {
            deployment: isRolledOut(deployment) ? undefined : deployment,
            pod: isReadyPod(pod) ? undefined : pod,
          };
        }),
      );
      const missing = states.flatMap(({ deployment, pod }) => deployment ?? pod ?? []);
      return { done: missing.length === 0, seen: missing };
    },
    (missing) => troubleOf(kube, missing[0]!),
    ({ message, fix }) =>
      new CliError({
        code: 'bench-timeout',
        message: `The copies are not ready after ${formatDuration(wait.timeoutMs)} (--wait): ${message}`,
        fix,
      }),
  );
  const found = {} as Record<Mode, StagePods>;
  for (const mode of modes) {
    const { server, load } = plan.names[mode];
    const service = await kube.get(resources.services, server, namespace);
    const pods = await kube.list(resources.pods, { namespace, labelSelector: selectorOf(plan.name, mode) });
    const stage = {
      servers: pods.filter(isReadyPod),
      load: await kube.get(resources.pods, load, namespace),
      host: service.spec.clusterIP as string,
    };
    const bare = [...stage.servers, stage.load].find((pod) => mode === 'mesh' && !isMeshed(pod));
    if (bare)
      throw new CliError({
        code: 'not-meshed',
        message: `pod/${bare.metadata.name} in namespace ${namespace} came without a proxy`,
        fix: 'Run `mesh check`: the injector may be away, or the namespace exempt from it.',
      });
    found[mode] = stage;
  }
  return found;
}

async function troubleOf(kube: KubeClient, missing: KubeObject): Promise<Trouble> {
  if (missing.kind === 'Pod') return podTrouble(kube, missing);
  const { namespace, labels = {} } = missing.metadata;
  const labelSelector = Object.entries(labels)
    .map((pair) => pair.join('='))
    .join(',');
  const pods = await kube.list(resources.pods, { namespace: namespace!, labelSelector });
  const unready = pods.find((pod) => !isReadyPod(pod));
  if (unready) return podTrouble(kube, unready);
  return deploymentTrouble(missing) ?? { message: `${objectTitle(missing)} has no ready pod yet` };
}

/** Takes everything away and waits until its pods are gone. Names what could not be removed. */
export async function remove(kube: KubeClient, plan: BenchPlan): Promise<string[]> {
  const left: string[] = [];
  for (const object of [...plan.objects].reverse()) {
    const grace = object.kind === 'Pod' ? { gracePeriodSeconds: 0 } : {};
    try {
      await kube.delete(types[object.kind]!, object.metadata.name!, plan.namespace, grace);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.status !== 404) left.push(`${objectTitle(object)}: ${error.message}`);
    }
  }
  const pods = { namespace: plan.namespace, labelSelector: selectorOf(plan.name) };
  for (const deadline = performance.now() + goneMs; left.length === 0; await delay(200)) {
    const there = await kube.list(resources.pods, pods);
    if (there.length === 0) break;
    if (performance.now() > deadline) left.push(...there.map((pod) => `pod/${pod.metadata.name}: still ending`));
  }
  return left;
}
