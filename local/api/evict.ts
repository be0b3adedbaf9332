/** Eviction: a deletion that heeds disruption budgets. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { isReady, matches } from '../controllers/workload.ts';
import type { Objects } from '../objects.ts';
import { StatusError } from './status-error.ts';

/** @throws StatusError 429 where a budget does not allow it */
export async function evict(objects: Objects, pod: KubeObject, options: Json, dry: boolean): Promise<void> {
  const { name, namespace } = pod.metadata;
  const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  const budgets = ended || !isReady(pod) ? [] : budgetsOf(objects, pod);
  const empty = budgets.find((budget) => !((budget.status?.disruptionsAllowed ?? 0) > 0));
  if (empty) {
    const budget = empty.metadata.name;
    throw new StatusError(429, 'TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [
        {
          reason: 'DisruptionBudget',
          message: `The disruption budget ${budget} needs ${empty.status?.desiredHealthy ?? 0} healthy pods and has ${empty.status?.currentHealthy ?? 0} currently`,
        },
      ],
    });
  }
  if (dry) return;
  // Taken at once: the next eviction must not rely on a count from before this one.
  for (const budget of budgets) {
    await objects.updateStatus(resources.podDisruptionBudgets, budget.metadata.name!, namespace, (status) => ({
      ...status,
      disruptionsAllowed: status.disruptionsAllowed - 1,
    }));
  }
  await objects.delete(resources.pods, name!, namespace, {
    ...(options?.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
  });
}

function budgetsOf(objects: Objects, pod: KubeObject): KubeObject[] {
  return objects
    .list(resources.podDisruptionBudgets, { namespace: pod.metadata.namespace! })
    .filter((budget) => matches(budget.spec.selector, pod.metadata.labels));
}
