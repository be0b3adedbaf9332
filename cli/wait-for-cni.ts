/** Waits until the CNI plugin is on every node, and says on what. */
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { cniName } from '../protocol/names.ts';
import { isReadyPod } from './control-pods.ts';
import { formatDuration } from './duration.ts';
import { CliError } from './errors.ts';
import { podTrouble, type Trouble } from './pod-trouble.ts';
import { type Wait, waitUntil } from './wait-until.ts';

export interface Coverage {
  ready: number;
  nodes: number;
  /** Every node has an agent of this very generation that has the plugin in place. */
  complete: boolean;
}

export function coverage({ metadata, status = {} }: KubeObject): Coverage {
  const { desiredNumberScheduled: nodes = 0, updatedNumberScheduled: updated = 0, numberReady: ready = 0 } = status;
  const seen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  return { ready, nodes, complete: seen && updated >= nodes && ready >= nodes };
}

/** Why the plugin is not on every node: the first agent that is not ready, in its own words where it runs. */
export async function cniTrouble(kube: KubeClient, daemonSet: KubeObject): Promise<Trouble> {
  const pods = await kube.list(resources.pods, { namespace: cniName });
  const [unready] = pods.filter((pod) => !isReadyPod(pod) && !pod.metadata.deletionTimestamp);
  const { ready, nodes } = coverage(daemonSet);
  if (!unready) return { message: nodes === 0 ? 'it is on no node yet' : `${ready} of ${nodes} nodes have it` };
  const running = unready.status?.containerStatuses?.[0]?.state?.running !== undefined;
  const said = running ? await lastWords(kube, unready) : '';
  if (said === '') return podTrouble(kube, unready);
  return { message: `pod/${unready.metadata.name} on node ${unready.spec?.nodeName}: ${said}` };
}

/** The agent logs what it waits for. The log is extra: a user may see pods and not logs. */
async function lastWords(kube: KubeClient, { metadata }: KubeObject): Promise<string> {
  try {
    let text = '';
    for await (const chunk of await kube.logs(cniName, metadata.name!, { tailLines: 1 })) text += chunk;
    return text.trim().replace(/^\S+ mesh-cni: /, '');
  } catch {
    return '';
  }
}

/** @throws CliError `cni-timeout` naming what was waited for */
export async function waitForCni(kube: KubeClient, wait: Wait): Promise<void> {
  await waitUntil(
    wait,
    async () => {
      const seen = await kube.get(resources.daemonSets, cniName, cniName);
      return { done: coverage(seen).complete, seen };
    },
    (seen) => cniTrouble(kube, seen),
    ({ message, fix }) =>
      new CliError({
        code: 'cni-timeout',
        message: `The CNI plugin is not on every node after ${formatDuration(wait.timeoutMs)} (--wait): ${message}`,
        fix,
      }),
  );
}
