/** Pods that should have a proxy, by annotation, and have none: the webhook was away when they were made. */
import { obstacle } from '../../inject/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { UnmeshedPod } from '../../protocol/api.ts';
import { injectAnnotation } from '../../protocol/names.ts';
import { type Cluster, isMeshed, workloadOf } from '../cluster/index.ts';
import type { Log } from '../log.ts';
import { writeEvent } from './events.ts';

export function unmeshedPods(cluster: Cluster): UnmeshedPod[] {
  const found: UnmeshedPod[] = [];
  for (const pod of cluster.pods.list()) {
    if (isMeshed(pod) || pod.metadata.deletionTimestamp || pod.spec.hostNetwork || !runs(pod)) continue;
    const namespace = pod.metadata.namespace!;
    const own = pod.metadata.annotations?.[injectAnnotation];
    const inherited = cluster.namespaces.get(undefined, namespace)?.metadata.annotations?.[injectAnnotation];
    if ((own ?? inherited) !== 'enabled') continue;
    const asks = `${own ? 'the pod' : `namespace ${namespace}`} asks for a proxy`;
    // A host network was decided on; everything else that keeps a proxy out is worth knowing.
    const why = obstacle({ metadata: pod.metadata as never, spec: pod.spec });
    const reason = why ? `${asks} that it cannot have: ${why.reason}` : `${asks}, and the pod has none: restart it`;
    found.push({ namespace, pod: pod.metadata.name!, workload: workloadOf(pod), reason, restart_helps: !why });
  }
  return found;
}

/** Says so with an Event `Unmeshed` on each such pod, once: the Event's name holds for all replicas. */
export class UnmeshedReporter {
  readonly #kube: KubeClient;
  readonly #cluster: Cluster;
  readonly #log: Log;
  #told = new Set<string>();

  constructor(kube: KubeClient, cluster: Cluster, log: Log) {
    this.#kube = kube;
    this.#cluster = cluster;
    this.#log = log;
  }

  async report(): Promise<void> {
    const told = new Set<string>();
    for (const { namespace, pod: name, reason } of unmeshedPods(this.#cluster)) {
      const uid = this.#cluster.pods.get(namespace, name)?.metadata.uid;
      if (uid === undefined) continue;
      if (this.#told.has(uid) || (await this.#write(namespace, name, uid, reason))) told.add(uid);
    }
    this.#told = told;
  }

  async #write(namespace: string, pod: string, uid: string, message: string): Promise<boolean> {
    const about = { apiVersion: 'v1', kind: 'Pod', namespace, name: pod, uid };
    try {
      await writeEvent(this.#kube, { name: `unmeshed-${uid}`, type: 'Warning', reason: 'Unmeshed', message, about });
    } catch (error) {
      const { message: reason } = error as Error;
      this.#log.warn('event not written; it will be tried again', { namespace, pod, reason });
      return false;
    }
    return true;
  }
}

const runs = (pod: KubeObject): boolean => pod.status?.phase === 'Running' || pod.status?.phase === 'Pending';
