/** Starts every controller of the local mesh. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { keyOf, WorkQueue } from './controller.ts';
import { reconcileCronJob } from './cron-job.ts';
import { reconcileDaemonSet } from './daemon-set.ts';
import { reconcileDeployment } from './deployment.ts';
import { reconcileBudget } from './disruption-budget.ts';
import { reconcileEndpoints } from './endpoint-slice.ts';
import { GarbageCollector } from './garbage.ts';
import { reconcileJob } from './job.ts';
import { type NamespaceOptions, reconcileNamespace } from './namespace.ts';
import { reconcileReplicaSet } from './replica-set.ts';
import { reconcileStatefulSet } from './stateful-set.ts';
import { controllerOf, matches } from './workload.ts';

export interface ControllerOptions extends NamespaceOptions {
  log: (message: string) => void;
}

/** Starts all controllers; the function returned stops them. */
export function startControllers(objects: Objects, options: ControllerOptions): () => void {
  const { log } = options;
  const stops: (() => void)[] = [];
  const queue = (name: string, reconcile: (key: string, self: WorkQueue) => Promise<void>): WorkQueue => {
    const made: WorkQueue = new WorkQueue(name, (key) => reconcile(key, made), log);
    stops.push(() => made.stop());
    return made;
  };
  const feed = (type: ResourceType, to: (object: KubeObject) => void): void => {
    stops.push(objects.watch(type, ({ object }) => to(object)));
  };

  const queues: Record<string, WorkQueue> = {
    Deployment: queue('deployment', (key, self) => reconcileDeployment(objects, key, self)),
    ReplicaSet: queue('replicaset', (key, self) => reconcileReplicaSet(objects, key, self)),
    StatefulSet: queue('statefulset', (key) => reconcileStatefulSet(objects, key)),
    DaemonSet: queue('daemonset', (key) => reconcileDaemonSet(objects, key)),
    Job: queue('job', (key, self) => reconcileJob(objects, key, self)),
    CronJob: queue('cronjob', (key, self) => reconcileCronJob(objects, key, self)),
  };
  const owned = [
    resources.replicaSets,
    resources.statefulSets,
    resources.daemonSets,
    resources.jobs,
    resources.cronJobs,
  ];
  const podOwners = [resources.replicaSets, resources.statefulSets, resources.daemonSets];
  const wakeOwner = (object: KubeObject): void => {
    const owner = controllerOf(object);
    if (owner) queues[owner.kind]?.add(`${object.metadata.namespace ?? ''}/${owner.name}`);
    else if (object.kind === 'Pod' || object.kind === 'ReplicaSet') wakeAdopters(object);
  };
  /** What nobody controls may be what a workload looks for. */
  const wakeAdopters = (object: KubeObject): void => {
    const adopters = object.kind === 'Pod' ? podOwners : [resources.deployments];
    for (const workload of adopters.flatMap((type) => objects.list(type, { namespace: object.metadata.namespace! })))
      if (matches(workload.spec.selector, object.metadata.labels)) queues[workload.kind]!.add(keyOf(workload));
  };
  for (const type of [resources.deployments, ...owned]) {
    feed(type, (object) => {
      queues[type.kind]!.add(keyOf(object));
      wakeOwner(object);
    });
  }
  feed(resources.pods, wakeOwner);

  const endpoints = queue('endpoints', (key) => reconcileEndpoints(objects, key));
  feed(resources.services, (service) => endpoints.add(keyOf(service)));
  feed(resources.endpointSlices, wakeService);
  feed(resources.pods, (pod) => {
    for (const service of objects.list(resources.services, { namespace: pod.metadata.namespace! })) {
      if (service.spec.selector && matches({ matchLabels: service.spec.selector }, pod.metadata.labels))
        endpoints.add(keyOf(service));
    }
  });
  function wakeService(slice: KubeObject): void {
    const name = slice.metadata.labels?.['kubernetes.io/service-name'];
    if (name) endpoints.add(`${slice.metadata.namespace}/${name}`);
  }

  const budgets = queue('poddisruptionbudget', (key) => reconcileBudget(objects, key));
  feed(resources.podDisruptionBudgets, (budget) => budgets.add(keyOf(budget)));
  feed(resources.pods, (pod) => {
    for (const budget of objects.list(resources.podDisruptionBudgets, { namespace: pod.metadata.namespace! }))
      if (matches(budget.spec.selector, pod.metadata.labels)) budgets.add(keyOf(budget));
  });

  const namespaces = queue('namespace', (key, self) => reconcileNamespace(objects, key, options, self));
  feed(resources.namespaces, (namespace) => namespaces.add(keyOf(namespace)));
  for (const type of [resources.serviceAccounts, resources.configMaps]) {
    feed(type, (object) => namespaces.add(`/${object.metadata.namespace}`));
  }

  const garbage = new GarbageCollector(objects, log);
  for (const type of Object.values(resources)) {
    if (!/reviews$/.test(type.plural)) garbage.watch(type);
  }
  garbage.settle();
  stops.push(() => garbage.stop());
  return () => {
    for (const stop of stops) stop();
  };
}
