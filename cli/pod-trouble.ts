/** Why a pod is not ready, in the cluster's own words, and what helps. */
import type { Json, KubeObject } from '../kube/types.ts';

export interface Trouble {
  message: string;
  fix?: string;
  /** Nothing is wrong yet; the newest event of the pod may say what takes so long. */
  starting?: true;
}

const longest = 300;

/** One line, of a length that a screen can take. */
function short(text: unknown): string {
  const line = String(text ?? '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return line.length > longest ? `${line.slice(0, longest)}…` : line;
}

/** The last line a container wrote, where the kubelet kept it (terminationMessagePolicy FallbackToLogsOnError). */
function lastLine(terminated: Json): string {
  const lines = String(terminated?.message ?? '')
    .trim()
    .split('\n');
  return short(lines.at(-1));
}

function ended(terminated: Json): string {
  const how = terminated.signal ? `signal ${terminated.signal}` : `exit code ${terminated.exitCode}`;
  const why = terminated.reason === 'Error' || !terminated.reason ? how : `${terminated.reason}, ${how}`;
  const last = lastLine(terminated);
  return last === '' ? `ended with ${why}` : `ended with ${why}: ${last}`;
}

function containerTrouble(name: string, status: Json): Trouble | undefined {
  const { waiting, terminated } = status.state ?? {};
  const where = `pod ${name}: container ${status.name}`;
  const before = status.lastState?.terminated;
  switch (waiting?.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
      return {
        message: `${where} is in ${waiting.reason}: image ${status.image} cannot be pulled${waiting.message ? ` (${short(waiting.message)})` : ''}`,
        fix: 'Push or load the image where the cluster finds it, or name another with --registry, --image or --image-pull-secret.',
      };
    case 'CrashLoopBackOff':
      return {
        message: `${where} is in CrashLoopBackOff${before ? `: it ${ended(before)}` : ''}`,
        fix: `Read \`mesh logs ${name} -c ${status.name} --previous\`.`,
      };
    case undefined:
    case 'ContainerCreating':
    case 'PodInitializing':
      break;
    default:
      return { message: `${where} is in ${waiting.reason}${waiting.message ? `: ${short(waiting.message)}` : ''}` };
  }
  if (terminated && terminated.exitCode !== 0) return { message: `${where} ${ended(terminated)}` };
  if (before && !status.ready && before.exitCode !== 0)
    return { message: `${where} was restarted: it ${ended(before)}` };
  return undefined;
}

export function troubleOf(pod: KubeObject): Trouble {
  const name = pod.metadata.name!;
  const statuses: Json[] = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const status of statuses) {
    const found = containerTrouble(name, status);
    if (found) return found;
  }
  const unscheduled = (pod.status?.conditions ?? []).find(
    (one: Json) => one.type === 'PodScheduled' && one.status === 'False',
  );
  if (unscheduled) {
    return {
      message: `pod ${name} is not scheduled: ${short(unscheduled.message ?? unscheduled.reason)}`,
      fix: 'Give the cluster a node with room for it.',
    };
  }
  const creating = statuses.find((one) => one.state?.waiting?.reason);
  if (creating) {
    const { reason } = creating.state.waiting;
    return { message: `pod ${name}: container ${creating.name} is in ${reason}`, starting: true };
  }
  return { message: `pod ${name} is ${pod.status?.phase ?? 'Pending'}, not ready yet` };
}

/** The newest of a pod's events, in one line. */
export function newestEvent(events: readonly KubeObject[]): string | undefined {
  const time = (event: KubeObject): string =>
    event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? '';
  const [newest] = [...events].sort((a, b) => (time(a) < time(b) ? 1 : -1));
  return newest && short(newest.message);
}

/** Why a Deployment has no pods at all: a quota, an admission rule. */
export function deploymentTrouble(deployment: KubeObject): Trouble | undefined {
  const failed = (deployment.status?.conditions ?? []).find(
    (one: Json) => one.type === 'ReplicaFailure' && one.status === 'True',
  );
  return failed && { message: `its pods are refused: ${short(failed.message)}` };
}
