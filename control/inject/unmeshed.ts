/** Pods that should have a proxy, by annotation, and have none: the webhook was away when they were made. */
import type { KubeObject } from '../../kube/types.ts';
import { injectAnnotation } from '../../protocol/names.ts';
import { type Cluster, isMeshed } from '../cluster/index.ts';

export function unmeshedPods(cluster: Cluster): { namespace: string; pod: string; reason: string }[] {
  const found: { namespace: string; pod: string; reason: string }[] = [];
  for (const pod of cluster.pods.list()) {
    if (isMeshed(pod) || pod.metadata.deletionTimestamp || pod.spec.hostNetwork || !runs(pod)) continue;
    const namespace = pod.metadata.namespace!;
    const own = pod.metadata.annotations?.[injectAnnotation];
    const inherited = cluster.namespaces.get(undefined, namespace)?.metadata.annotations?.[injectAnnotation];
    if ((own ?? inherited) !== 'enabled') continue;
    found.push({
      namespace,
      pod: pod.metadata.name!,
      reason: `${own ? 'the pod' : `namespace ${namespace}`} asks for a proxy, and the pod has none: restart it`,
    });
  }
  return found;
}

const runs = (pod: KubeObject): boolean => pod.status?.phase === 'Running' || pod.status?.phase === 'Pending';
