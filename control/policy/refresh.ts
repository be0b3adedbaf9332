/** Tells whose inbound policies may have changed, soon after a pod or service did. */
import type { Cluster } from '../cluster/index.ts';

/** Changes that come together are answered together. */
const gatherMs = 50;

/** Calls `refresh` for each namespace whose services changed, and for each pod that did; returns the way to stop. */
export function followPolicies(cluster: Cluster, refresh: (namespace: string, pod?: string) => void): () => void {
  const namespaces = new Set<string>();
  /** By namespace and name. */
  const pods = new Map<string, [namespace: string, pod: string]>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const work = (): void => {
    timer = undefined;
    for (const namespace of namespaces) refresh(namespace);
    for (const [namespace, pod] of pods.values()) if (!namespaces.has(namespace)) refresh(namespace, pod);
    namespaces.clear();
    pods.clear();
  };
  cluster.onChange(({ ip, service, defined }) => {
    if (stopped) return;
    const pod = ip === undefined ? undefined : cluster.podAt(ip);
    if (defined && service) namespaces.add(service.split('/', 1)[0]!);
    else if (pod) {
      const { namespace, name } = pod.metadata as { namespace: string; name: string };
      pods.set(`${namespace}/${name}`, [namespace, name]);
    } else return;
    timer ??= setTimeout(work, gatherMs);
  });
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
