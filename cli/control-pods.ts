/** The pods of the control plane. */
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';

/** Ready, and not on its way out. */
export function isReadyPod(pod: KubeObject): boolean {
  const conditions: { type: string; status: string }[] = pod.status?.conditions ?? [];
  return !pod.metadata.deletionTimestamp && conditions.some((one) => one.type === 'Ready' && one.status === 'True');
}

export function controlPods(kube: KubeClient): Promise<KubeObject[]> {
  const labelSelector = `app.kubernetes.io/name=${controlName}`;
  return kube.list(resources.pods, { namespace: controlNamespace, labelSelector });
}
