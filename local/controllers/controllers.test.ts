import { afterEach, beforeEach, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { firesAt, lastFiring } from './cron-job.ts';
import { startControllers } from './index.ts';
import { MemoryObjects } from './test-objects.ts';

let objects: MemoryObjects;
let stop: () => void;
const logged: string[] = [];

beforeEach(() => {
  objects = new MemoryObjects();
  logged.length = 0;
  stop = startControllers(objects, {
    apiRoot: 'PEM',
    namespacedTypes: () => Object.values(resources).filter((type) => type.namespaced),
    log: (message) => logged.push(message),
  });
});

afterEach(() => {
  stop();
  expect(logged).toEqual([]);
});

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 3000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

let lastIp = 1;
async function run(pod: KubeObject, phase = 'Running'): Promise<void> {
  await objects.updateStatus(resources.pods, pod.metadata.name!, pod.metadata.namespace, (status) => ({
    ...status,
    phase,
    podIP: status?.podIP ?? `10.244.0.${++lastIp}`,
    conditions: [
      { type: 'Ready', status: phase === 'Running' ? 'True' : 'False', lastTransitionTime: new Date().toISOString() },
    ],
  }));
}

const pods = (): KubeObject[] => objects.list(resources.pods);
const live = (): KubeObject[] => pods().filter((pod) => !pod.metadata.deletionTimestamp);

function deployment(image: string, replicas: number, strategy?: Json): KubeObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      replicas,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'web', image, ports: [{ name: 'http', containerPort: 8080 }] }] },
      },
      ...(strategy ? { strategy } : {}),
    },
  };
}

async function deployed(replicas: number): Promise<void> {
  await objects.create(resources.deployments, deployment('web:1', replicas));
  await until('pods made', () => pods().length === replicas);
  for (const pod of pods()) await run(pod);
  await until(
    'available',
    () => objects.get(resources.deployments, 'web', 'shop')?.status?.availableReplicas === replicas,
  );
}

test('a deployment runs as many pods as asked for, and replaces one that goes', async () => {
  await deployed(3);
  await objects.remove(resources.pods, pods()[0]!.metadata.name!, 'shop');
  await until('replaced', () => pods().length === 3);
});

test('scaling down takes pods that are not ready first', async () => {
  await objects.create(resources.deployments, deployment('web:1', 3));
  await until('pods made', () => pods().length === 3);
  const [first, second] = pods();
  await run(first!);
  await run(second!);
  const stored = objects.get(resources.deployments, 'web', 'shop')!;
  await objects.update(resources.deployments, { ...structuredClone(stored), spec: { ...stored.spec, replicas: 2 } });
  await until('scaled down', () => live().length === 2);
  expect(
    live()
      .map((pod) => pod.metadata.name)
      .sort(),
  ).toEqual([first, second].map((pod) => pod!.metadata.name).sort());
});

test('a roll never takes more old pods than new ones are available', async () => {
  await deployed(4);
  const stored = objects.get(resources.deployments, 'web', 'shop')!;
  const next = structuredClone(stored);
  next.spec.template.spec.containers[0].image = 'web:2';
  next.spec.strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
  await objects.update(resources.deployments, next);
  const image = (pod: KubeObject) => pod.spec.containers[0].image;
  for (let step = 0; step < 40; step++) {
    const ready = live().filter((pod) => pod.status?.phase === 'Running').length;
    expect(ready).toBeGreaterThanOrEqual(4);
    expect(live().length).toBeLessThanOrEqual(5);
    for (const pod of pods().filter((entry) => entry.metadata.deletionTimestamp))
      await objects.remove(resources.pods, pod.metadata.name!, 'shop');
    const waiting = live().find((pod) => pod.status?.phase !== 'Running');
    if (waiting) await run(waiting);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(live().map(image)).toEqual(['web:2', 'web:2', 'web:2', 'web:2']);
  const status = objects.get(resources.deployments, 'web', 'shop')!.status;
  expect(status).toMatchObject({ replicas: 4, updatedReplicas: 4, availableReplicas: 4 });
  expect(objects.list(resources.replicaSets)).toHaveLength(2);
});

test('an endpoint slice lists ready pods under the resolved port and marks terminating ones', async () => {
  await objects.create(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  });
  await deployed(2);
  const slice = () => objects.get(resources.endpointSlices, 'web-s0', 'shop');
  await until('two ready', () => slice()?.endpoints?.filter((entry: Json) => entry.conditions.ready).length === 2);
  expect(slice()!.ports).toEqual([{ name: 'http', port: 8080, protocol: 'TCP' }]);
  await objects.delete(resources.pods, pods()[0]!.metadata.name!, 'shop');
  await until(
    'one terminating',
    () => slice()!.endpoints.filter((entry: Json) => entry.conditions.terminating).length === 1,
  );
  expect(slice()!.endpoints.filter((entry: Json) => entry.conditions.ready)).toHaveLength(1);
});

test('a stateful set starts its pods in order', async () => {
  const set: KubeObject = deployment('db:1', 2);
  set.kind = 'StatefulSet';
  set.spec.serviceName = 'web';
  await objects.create(resources.statefulSets, set);
  await until('first', () => pods().length === 1);
  expect(pods()[0]!.metadata.name).toBe('web-0');
  expect(pods()[0]!.spec).toMatchObject({ hostname: 'web-0', subdomain: 'web' });
  await run(pods()[0]!);
  await until('second', () => pods().length === 2);
  expect(pods()[1]!.metadata.name).toBe('web-1');
});

test('a job ends when its pod succeeds, and fails when its retries are used up', async () => {
  const job = (name: string): KubeObject => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: 'shop' },
    spec: { backoffLimit: 0, template: { spec: { containers: [] } } },
  });
  await objects.create(resources.jobs, job('good'));
  await until('pod', () => pods().length === 1);
  await run(pods()[0]!, 'Succeeded');
  await until(
    'complete',
    () => objects.get(resources.jobs, 'good', 'shop')?.status?.conditions?.[0]?.type === 'Complete',
  );
  await objects.create(resources.jobs, job('bad'));
  await until('pod', () => pods().length === 2);
  await run(pods()[1]!, 'Failed');
  await until(
    'failed',
    () => objects.get(resources.jobs, 'bad', 'shop')?.status?.conditions?.[0]?.reason === 'BackoffLimitExceeded',
  );
});

test('deleting a deployment takes its sets and pods with it', async () => {
  await deployed(2);
  await objects.delete(resources.deployments, 'web', 'shop');
  await until('collected', () => objects.list(resources.replicaSets).length === 0 && live().length === 0);
});

test('a namespace gets its service account and root certificate, and its end empties it', async () => {
  await objects.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await until('service account', () => objects.get(resources.serviceAccounts, 'default', 'shop') !== undefined);
  await until('root', () => objects.get(resources.configMaps, 'kube-root-ca.crt', 'shop')?.data['ca.crt'] === 'PEM');
  await objects.delete(resources.namespaces, 'shop');
  await until('gone', () => objects.get(resources.namespaces, 'shop') === undefined);
  expect(objects.list(resources.configMaps)).toEqual([]);
});

test('schedules fire in the minutes crontab(5) says', () => {
  const at = (time: string) => new Date(`2026-11-24T${time}:00Z`); // a Tuesday
  expect(firesAt('*/15 * * * *', at('10:45'))).toBe(true);
  expect(firesAt('*/15 * * * *', at('10:46'))).toBe(false);
  expect(firesAt('0 9-17 * * 1-5', at('09:00'))).toBe(true);
  expect(firesAt('0 0 1 * 2', at('00:00'))).toBe(true);
  expect(firesAt('@hourly', at('03:00'))).toBe(true);
  expect(firesAt('61 * * * *', at('00:00'))).toBeUndefined();
});

test('a deployment takes over the pods and sets it finds, and lets go of a pod that is relabelled', async () => {
  await deployed(2);
  const before = pods().map((pod) => pod.metadata.uid);
  const [set] = objects.list(resources.replicaSets);
  await objects.update(resources.replicaSets, {
    ...structuredClone(set!),
    metadata: { ...structuredClone(set!.metadata), ownerReferences: [] },
  });
  await until('adopted', () => objects.list(resources.replicaSets)[0]!.metadata.ownerReferences?.length === 1);
  expect(pods().map((pod) => pod.metadata.uid)).toEqual(before);
  const [out] = pods();
  const labels = { ...out!.metadata.labels, app: 'aside' };
  await objects.update(resources.pods, {
    ...structuredClone(out!),
    metadata: { ...structuredClone(out!.metadata), labels },
  });
  await until('replaced', () => pods().length === 3);
  expect(objects.get(resources.pods, out!.metadata.name!, 'shop')!.metadata.ownerReferences).toEqual([]);
});

test('a roll-out that gets nowhere says so after its deadline, and one that was paused says that', async () => {
  const stuck = deployment('web:1', 1);
  stuck.spec.progressDeadlineSeconds = 1;
  await objects.create(resources.deployments, stuck);
  const progress = () =>
    objects
      .get(resources.deployments, 'web', 'shop')
      ?.status?.conditions?.find((one: Json) => one.type === 'Progressing');
  await until('no progress', () => progress()?.reason === 'ProgressDeadlineExceeded');
  const stored = structuredClone(objects.get(resources.deployments, 'web', 'shop')!);
  await objects.update(resources.deployments, { ...stored, spec: { ...stored.spec, paused: true, replicas: 2 } });
  await until('paused', () => progress()?.reason === 'DeploymentPaused');
  await until('scaled while paused', () => live().length === 2);
});

test('a template that kubectl puts back is the old revision again', async () => {
  await deployed(1);
  const stored = structuredClone(objects.get(resources.deployments, 'web', 'shop')!);
  stored.spec.template.metadata.creationTimestamp = null;
  await objects.update(resources.deployments, stored);
  await new Promise((resolve) => setImmediate(resolve));
  await until('seen', () => objects.get(resources.deployments, 'web', 'shop')?.status.observedGeneration === 2);
  expect(objects.list(resources.replicaSets)).toHaveLength(1);
});

test('a budget allows as many disruptions as there are spare healthy pods', async () => {
  await objects.create(resources.podDisruptionBudgets, {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { minAvailable: '50%', selector: { matchLabels: { app: 'web' } } },
  });
  await deployed(3);
  const status = () => objects.get(resources.podDisruptionBudgets, 'web', 'shop')?.status;
  await until('counted', () => status()?.currentHealthy === 3);
  expect(status()).toMatchObject({ expectedPods: 3, desiredHealthy: 2, disruptionsAllowed: 1 });
});

test('a schedule fires in its time zone, and a run that was missed is found, but none before its beginning', () => {
  expect(firesAt('0 9 * * *', new Date('2026-01-15T08:00:00Z'), 'Europe/Berlin')).toBe(true);
  expect(firesAt('0 9 * * *', new Date('2026-07-15T07:00:00Z'), 'Europe/Berlin')).toBe(true);
  const at = (time: string): number => Date.parse(`2026-01-15T${time}Z`);
  expect(lastFiring('0 * * * *', 'UTC', at('06:30:00'), at('09:10:00'))).toEqual(new Date(at('09:00:00')));
  expect(lastFiring('0 * * * *', 'UTC', at('09:00:00'), at('09:10:00'))).toBeUndefined();
  expect(lastFiring('* * * * *', 'UTC', at('09:10:20'), at('09:10:40'))).toBeUndefined();
});

test('an endpoint that terminates is still serving; unready ones are published where the service says so', async () => {
  await objects.create(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      selector: { app: 'web' },
      publishNotReadyAddresses: true,
      ports: [{ name: 'http', port: 80, targetPort: 'http' }],
    },
  });
  await deployed(2);
  await run(pods()[1]!, 'Pending');
  await objects.delete(resources.pods, pods()[0]!.metadata.name!, 'shop');
  const conditions = () =>
    (objects.get(resources.endpointSlices, 'web-s0', 'shop')?.endpoints ?? []).map((one: Json) => one.conditions);
  await until(
    'both states',
    () =>
      conditions().some((one: Json) => one.terminating && one.serving && one.ready) &&
      conditions().some((one: Json) => !one.serving && one.ready),
  );
});

function statefulSet(image: string, replicas: number, partition = 0): KubeObject {
  const set = deployment(image, replicas);
  set.kind = 'StatefulSet';
  set.spec.serviceName = 'web';
  set.spec.updateStrategy = { type: 'RollingUpdate', rollingUpdate: { partition } };
  return set;
}

test('below its partition a stateful set makes a pod that went as it was, and keeps both revisions', async () => {
  const stateful = () => objects.get(resources.statefulSets, 'web', 'shop')!;
  const image = (name: string) => objects.get(resources.pods, name, 'shop')?.spec.containers[0].image;
  /** What the runtime does: runs what waits, removes what has ended. */
  const work = async (): Promise<void> => {
    for (const pod of pods()) {
      if (pod.metadata.deletionTimestamp) await objects.remove(resources.pods, pod.metadata.name!, 'shop');
      else if (pod.status?.phase !== 'Running') await run(pod);
    }
  };
  const settled = async (what: string, condition: () => boolean): Promise<void> => {
    for (let turn = 0; turn < 200 && !condition(); turn++) {
      await work();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect([what, condition()]).toEqual([what, true]);
  };
  await objects.create(resources.statefulSets, statefulSet('db:1', 2, 1));
  await settled('both run', () => stateful().status?.readyReplicas === 2);
  const next = structuredClone(stateful());
  next.spec.template.spec.containers[0].image = 'db:2';
  await objects.update(resources.statefulSets, next);
  await settled('the upper one is new', () => image('web-1') === 'db:2' && stateful().status.readyReplicas === 2);
  expect(image('web-0')).toBe('db:1');
  const { uid } = objects.get(resources.pods, 'web-0', 'shop')!.metadata;
  await objects.remove(resources.pods, 'web-0', 'shop');
  await settled('it is there again', () => {
    const pod = objects.get(resources.pods, 'web-0', 'shop');
    return pod !== undefined && pod.metadata.uid !== uid;
  });
  expect(image('web-0')).toBe('db:1');
  const revisions = objects
    .list(resources.controllerRevisions)
    .map((one) => [one.revision, one.data.spec.template.spec.containers[0].image]);
  expect(revisions.sort()).toEqual([
    [1, 'db:1'],
    [2, 'db:2'],
  ]);
});

test('a job that is suspended gives up its pods; restarts inside a pod count as failures', async () => {
  const job: KubeObject = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'work', namespace: 'shop' },
    spec: { backoffLimit: 1, template: { spec: { restartPolicy: 'OnFailure', containers: [] } } },
  };
  const stored = () => objects.get(resources.jobs, 'work', 'shop')!;
  const state = (type: string) => stored().status?.conditions?.find((one: Json) => one.type === type);
  await objects.create(resources.jobs, job);
  await until('pod', () => pods().length === 1);
  await objects.update(resources.jobs, { ...structuredClone(stored()), spec: { ...stored().spec, suspend: true } });
  await until('suspended', () => live().length === 0 && state('Suspended')?.status === 'True');
  await objects.update(resources.jobs, { ...structuredClone(stored()), spec: { ...stored().spec, suspend: false } });
  await until('resumed', () => live().length === 1 && state('Suspended')?.status === 'False');
  await objects.updateStatus(resources.pods, live()[0]!.metadata.name!, 'shop', () => ({
    phase: 'Running',
    containerStatuses: [{ restartCount: 2 }],
  }));
  await until('failed', () => state('Failed')?.reason === 'BackoffLimitExceeded');
});
