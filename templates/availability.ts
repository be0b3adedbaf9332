/** What `--ha` adds: replicas on different machines, and never more than one of them taken away on purpose. */
import type { Json, KubeObject } from '../kube/types.ts';
import { controlName } from '../protocol/names.ts';

type Labels = Record<string, string>;

export const haReplicas = 3;

/** Preferred, not required: on a cluster of fewer machines, or in one zone, the replicas still start. */
export function spread(selector: Labels): Json {
  const apart = (weight: number, topologyKey: string) => ({
    weight,
    podAffinityTerm: { labelSelector: { matchLabels: selector }, topologyKey },
  });
  return {
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        apart(100, 'kubernetes.io/hostname'),
        apart(50, 'topology.kubernetes.io/zone'),
      ],
    },
  };
}

export function disruptionBudget(namespace: string, labels: Labels, selector: Labels): KubeObject {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: controlName, namespace, labels },
    spec: { maxUnavailable: 1, selector: { matchLabels: selector } },
  };
}
