/** Workloads whose pods have a proxy of another version than the control plane. */
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import { meshedLabel, proxyVersionAnnotation, workloadAnnotation } from '../protocol/names.ts';
import { type Workload, workloadsOf } from './restart-workload.ts';

/** Workloads of pods that run and whose proxy is not of this version, in one order. */
export async function oldWorkloads(kube: KubeClient, version: string): Promise<Workload[]> {
  const pods = await kube.list(resources.pods, { labelSelector: `${meshedLabel}=enabled` });
  const old = pods.filter(({ metadata, status }) => {
    if (metadata.deletionTimestamp || status?.phase === 'Succeeded' || status?.phase === 'Failed') return false;
    return metadata.annotations?.[proxyVersionAnnotation] !== version;
  });
  const titled = old.map(({ metadata }) => ({
    namespace: metadata.namespace!,
    title: metadata.annotations?.[workloadAnnotation] ?? `pod/${metadata.name}`,
  }));
  return workloadsOf(kube, titled);
}
