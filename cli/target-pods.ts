/** The pods that `POD`, `TYPE/NAME` or `control` on a command line mean. */
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import type { Context } from './context.ts';
import { isReadyPod } from './control-pods.ts';
import { CliError, UsageError } from './errors.ts';
import { kinds, parseReference } from './kinds.ts';
import { mustExist } from './objects.ts';

/** All of them, those that are ready first. @throws CliError `not-found` where there is none */
export async function targetPods(kube: KubeClient, target: string): Promise<KubeObject[]> {
  const control = target === 'control';
  const namespace = control ? controlNamespace : kube.namespace;
  const { kind, name } = control
    ? { kind: 'deployment', name: controlName }
    : target.includes('/')
      ? parseReference(target)
      : { kind: 'pod', name: target };
  if (kind === 'pod') return [await mustExist(kube, resources.pods, name, namespace)];
  const workload = await mustExist(kube, kinds[kind]!.type, name, namespace);
  const labels: Record<string, string> | undefined = workload.spec?.selector?.matchLabels;
  if (!labels)
    throw new UsageError(
      `A ${kind} has no pods of its own`,
      'Use POD, deploy/NAME, sts/NAME, ds/NAME, rs/NAME or job/NAME.',
    );
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const pods = await kube.list(resources.pods, { namespace, labelSelector });
  if (pods.length === 0) {
    throw new CliError({
      code: 'not-found',
      message: `${target} in namespace ${namespace} has no pod`,
      fix: 'Look at `mesh stat all` and `kubectl get events`.',
    });
  }
  return [...pods.filter(isReadyPod), ...pods.filter((pod) => !isReadyPod(pod))];
}

/** The pod that is meant; of several the first that is ready. */
export async function findPod(context: Context, kube: KubeClient, target: string): Promise<KubeObject> {
  const [pod, ...others] = await targetPods(kube, target);
  if (others.length > 0) {
    context.io.note(`${target} has ${others.length + 1} pods; this is pod/${pod!.metadata.name}`);
  }
  return pod!;
}
