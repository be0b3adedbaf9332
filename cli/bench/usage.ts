/** What the copies and their proxies use: the application's containers by the kubelet, proxies by their own metrics. */
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../../kube/client.ts';
import type { ContainerStats } from '../../kube/node-stats.ts';
import type { KubeObject } from '../../kube/types.ts';
import { initContainer, proxyContainer, validateContainer } from '../../protocol/names.ts';
import type { Context } from '../context.ts';
import { askProxy } from '../proxy-admin.ts';

/** So far, of all pods together. */
export interface Usage {
  cpuSeconds: number;
  /** Bytes. */
  memory: number;
}

/** A kubelet measures every ten to fifteen seconds, and tells what it measured last. */
const kubeletMs = 20_000;
const ours: readonly string[] = [proxyContainer, initContainer, validateContainer];

/**
 * Of the containers that are not the mesh's. undefined where the kubelet may not be asked, does not know them, or has
 * measured nothing since `since` in the time it takes for that.
 */
export async function applicationUsage(
  kube: KubeClient,
  pods: readonly KubeObject[],
  since: Date,
  signal: AbortSignal,
): Promise<Usage | undefined> {
  const nodes = new Set(pods.map((pod) => pod.spec.nodeName as string));
  const uids = new Set(pods.map((pod) => pod.metadata.uid));
  for (const deadline = performance.now() + kubeletMs; ; await delay(1000, undefined, { signal })) {
    let containers: ContainerStats[];
    try {
      const all = await Promise.all([...nodes].map((node) => kube.nodeStats(node)));
      const found = all.flatMap((one) => one.pods).filter(({ podRef }) => uids.has(podRef.uid));
      if (found.length < pods.length && performance.now() > deadline) return undefined;
      containers = found.flatMap((one) => one.containers).filter(({ name }) => !ours.includes(name));
      if (found.length < pods.length) continue;
    } catch (error) {
      if (error instanceof KubeError) return undefined;
      throw error;
    }
    const fresh = containers.every(({ cpu, memory }) =>
      [cpu?.time, memory?.time].every((time) => time !== undefined && Date.parse(time) >= since.getTime()),
    );
    if (fresh && containers.length > 0) return sum(containers);
    if (performance.now() > deadline) return undefined;
  }
}

function sum(containers: readonly ContainerStats[]): Usage {
  return containers.reduce(
    (all, { cpu, memory }) => ({
      cpuSeconds: all.cpuSeconds + (cpu?.usageCoreNanoSeconds ?? 0) / 1e9,
      memory: all.memory + (memory?.workingSetBytes ?? 0),
    }),
    { cpuSeconds: 0, memory: 0 },
  );
}

/** @throws CliError where a proxy does not answer */
export async function proxyUsage(
  context: Pick<Context, 'io' | 'globals'>,
  kube: KubeClient,
  pods: readonly KubeObject[],
): Promise<Usage> {
  const usage = { cpuSeconds: 0, memory: 0 };
  for (const pod of pods) {
    const metrics = await askProxy(context, kube, pod, '/metrics');
    const value = (name: string): number => {
      const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1];
      if (found === undefined) throw new Error(`the proxy of pod/${pod.metadata.name} tells no ${name}`);
      return Number(found);
    };
    usage.cpuSeconds += value('process_cpu_seconds_total');
    usage.memory += value('process_resident_memory_bytes');
  }
  return usage;
}
