/** Why a pod is not ready, in the cluster's own words: image pull, scheduling, crash with its last log line, events. */
import { text } from 'node:stream/consumers';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject } from '../kube/types.ts';

const maxLine = 200;

const oneLine = (message: string): string => message.trim().replaceAll(/\s+/g, ' ').slice(0, maxLine);

/** `pod/web-1 in namespace shop: container main: ImagePullBackOff: …` */
export async function podTrouble(kube: KubeClient, pod: KubeObject): Promise<string> {
  return `pod/${pod.metadata.name} in namespace ${pod.metadata.namespace}: ${await cause(kube, pod)}`;
}

async function cause(kube: KubeClient, pod: KubeObject): Promise<string> {
  if (pod.metadata.deletionTimestamp) return 'it is being deleted';
  const { phase, conditions = [], initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  const unscheduled = conditions.find((one: Json) => one.type === 'PodScheduled' && one.status === 'False');
  if (unscheduled) return `it is not scheduled: ${oneLine(unscheduled.message ?? unscheduled.reason ?? '')}`;
  const statuses: Json[] = [...initContainerStatuses, ...containerStatuses];
  const crashed = statuses.find((one) => one.state?.waiting?.reason === 'CrashLoopBackOff');
  if (crashed) return `container ${crashed.name}: ${await crash(kube, pod, crashed)}`;
  const waiting = statuses.find(
    (one) => one.state?.waiting && !/^(PodInitializing|ContainerCreating)$/.test(one.state.waiting.reason),
  );
  if (waiting) {
    const { reason, message = '' } = waiting.state.waiting;
    return `container ${waiting.name}: ${reason}${message ? `: ${oneLine(message)}` : ''} (image ${waiting.image})`;
  }
  const event = await lastWarning(kube, pod);
  if (event) return event;
  const unready = statuses.find((one) => !one.ready && one.state?.running);
  if (unready) return `container ${unready.name} runs and is not ready yet`;
  return `it is ${phase ?? 'Pending'} and not ready yet`;
}

async function crash(kube: KubeClient, pod: KubeObject, status: Json): Promise<string> {
  const last = status.lastState?.terminated ?? {};
  const why = last.reason === 'OOMKilled' ? 'out of memory' : `exit ${last.exitCode ?? '?'}`;
  const options = { container: status.name, previous: true, tailLines: 1 };
  // The log is extra: a user may see pods and not logs.
  const line = await kube
    .logs(pod.metadata.namespace!, pod.metadata.name!, options)
    .then(text)
    .catch(() => '');
  return `CrashLoopBackOff (${why}, ${status.restartCount} restarts)${line ? `; it said: ${oneLine(line)}` : ''}`;
}

async function lastWarning(kube: KubeClient, pod: KubeObject): Promise<string | undefined> {
  const options = {
    namespace: pod.metadata.namespace!,
    fieldSelector: `involvedObject.uid=${pod.metadata.uid},type=Warning`,
  };
  // Events are extra too.
  const events = await kube.list(resources.events, options).catch(() => []);
  const when = (one: KubeObject): string => one.lastTimestamp ?? one.eventTime ?? '';
  const newest = events.sort((a, b) => (when(a) < when(b) ? 1 : -1))[0];
  return newest && `${newest.reason}: ${oneLine(newest.message ?? '')}`;
}
