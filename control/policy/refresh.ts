/** Tells which namespaces' inbound policies may have changed, soon after a pod or service did. */
import type { Cluster } from '../cluster/index.ts';

/** Changes that come together are answered together. */
const gatherMs = 50;

/** Calls `refresh` for each namespace touched; returns the way to stop. */
export function followPolicies(cluster: Cluster, refresh: (namespace: string) => void): () => void {
  const touched = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const work = (): void => {
    timer = undefined;
    const namespaces = [...touched];
    touched.clear();
    for (const namespace of namespaces) refresh(namespace);
  };
  cluster.onChange(({ ip, service, defined }) => {
    const namespace = defined
      ? service?.split('/', 1)[0]
      : ip === undefined
        ? undefined
        : cluster.podAt(ip)?.metadata.namespace;
    if (stopped || namespace === undefined) return;
    touched.add(namespace);
    timer ??= setTimeout(work, gatherMs);
  });
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
