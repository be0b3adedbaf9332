/** Why a pod is not ready, in the cluster's own words, and what helps. */
import { text } from 'node:stream/consumers';
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject } from '../kube/types.ts';

export interface Trouble {
  message: string;
  fix?: string;
}

/** What a pod itself says, and where to ask for more. */
interface Said extends Trouble {
  /** Events that may say what takes so long, where nothing is known to be wrong. */
  events?: 'all' | 'warnings';
  /** The container that crashed and left no last words; its log may have them. */
  silent?: string;
}

const longest = 300;

/** One line, of a length that a screen can take. */
function short(words: unknown): string {
  const line = String(words ?? '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return line.length > longest ? `${line.slice(0, longest)}…` : line;
}

const because = (message: unknown): string => (message ? `: ${short(message)}` : '');

/** The last line a container wrote, where the kubelet kept it (terminationMessagePolicy FallbackToLogsOnError). */
function lastLine(terminated: Json): string {
  const lines = String(terminated?.message ?? '')
    .trim()
    .split('\n');
  return short(lines.at(-1));
}

function ended(terminated: Json): string {
  const how = terminated.signal ? `signal ${terminated.signal}` : `exit code ${terminated.exitCode}`;
  const why = terminated.reason === 'OOMKilled' ? `out of memory, ${how}` : how;
  const last = lastLine(terminated);
  return last === '' ? `ended with ${why}` : `ended with ${why}: ${last}`;
}

function containerTrouble({ name, namespace }: KubeObject['metadata'], status: Json): Said | undefined {
  const { waiting, terminated } = status.state ?? {};
  const where = `container ${status.name}`;
  const before = status.lastState?.terminated;
  switch (waiting?.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
      return {
        message: `${where}: ${waiting.reason}: image ${status.image} cannot be pulled${because(waiting.message)}`,
        fix: 'Push or load the image where the cluster finds it, or name another with --registry, --image or --image-pull-secret.',
      };
    case 'CrashLoopBackOff':
      return {
        message: `${where}: CrashLoopBackOff (${status.restartCount ?? 0} restarts)${before ? `: it ${ended(before)}` : ''}`,
        fix: `Read \`mesh logs ${name} -n ${namespace} -c ${status.name} --previous\`.`,
        ...(lastLine(before) === '' ? { silent: status.name } : {}),
      };
    case undefined:
    case 'ContainerCreating':
    case 'PodInitializing':
      break;
    default:
      return { message: `${where}: ${waiting.reason}${because(waiting.message)} (image ${status.image})` };
  }
  if (terminated && terminated.exitCode !== 0) return { message: `${where} ${ended(terminated)}` };
  if (before && !status.ready && before.exitCode !== 0) {
    return { message: `${where} was restarted: it ${ended(before)}` };
  }
  return undefined;
}

/** Without the pod's name. */
function troubleOf({ metadata, status = {} }: KubeObject): Said {
  if (metadata.deletionTimestamp) return { message: 'it is being deleted' };
  const statuses: Json[] = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  for (const one of statuses) {
    const found = containerTrouble(metadata, one);
    if (found) return found;
  }
  const unscheduled = (status.conditions ?? []).find(
    (one: Json) => one.type === 'PodScheduled' && one.status === 'False',
  );
  if (unscheduled) {
    return {
      message: `it is not scheduled${because(unscheduled.message ?? unscheduled.reason)}`,
      fix: 'Give the cluster a node with room for it.',
    };
  }
  const creating = statuses.find((one) => one.state?.waiting?.reason);
  if (creating) {
    return { message: `container ${creating.name} is in ${creating.state.waiting.reason}`, events: 'all' };
  }
  const unready = statuses.find((one) => !one.ready && one.state?.running);
  if (unready) return { message: `container ${unready.name} runs and is not ready yet`, events: 'warnings' };
  return { message: `it is ${status.phase ?? 'Pending'} and not ready yet`, events: 'all' };
}

/** `pod/web-1 in namespace shop: container main: ImagePullBackOff: …`, with the log or the events where they tell more. */
export async function podTrouble(kube: KubeClient, pod: KubeObject): Promise<Trouble> {
  const { message, fix, events, silent } = troubleOf(pod);
  const more = silent ? await lastLogLine(kube, pod, silent) : events && (await newestEvent(kube, pod, events));
  return {
    message: `pod/${pod.metadata.name} in namespace ${pod.metadata.namespace}: ${message}${because(more)}`,
    ...(fix === undefined ? {} : { fix }),
  };
}

/** The log is extra: a user may see pods and not logs. */
function lastLogLine(kube: KubeClient, { metadata }: KubeObject, container: string): Promise<string> {
  const options = { container, previous: true, tailLines: 1 };
  return kube
    .logs(metadata.namespace!, metadata.name!, options)
    .then(text)
    .catch(() => '');
}

/** Events are extra too. */
async function newestEvent(
  kube: KubeClient,
  { metadata }: KubeObject,
  which: 'all' | 'warnings',
): Promise<string | undefined> {
  const type = which === 'warnings' ? ',type=Warning' : '';
  const options = { namespace: metadata.namespace!, fieldSelector: `involvedObject.uid=${metadata.uid}${type}` };
  const events = await kube.list(resources.events, options).catch(() => []);
  const time = (event: KubeObject): string =>
    event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? '';
  const [newest] = events.sort((a, b) => (time(a) < time(b) ? 1 : -1));
  return newest && `${newest.reason}: ${newest.message ?? ''}`;
}

/** Why a Deployment has no pods at all: a quota, an admission rule. */
export function deploymentTrouble(deployment: KubeObject): Trouble | undefined {
  const failed = (deployment.status?.conditions ?? []).find(
    (one: Json) => one.type === 'ReplicaFailure' && one.status === 'True',
  );
  return failed && { message: `its pods are refused${because(failed.message)}` };
}
