/** What clients in the mesh notice while pods and the control plane go away: nothing. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { controlNamespace, injectAnnotation } from '../../protocol/names.ts';
import { isMeshed, TestCluster } from '../support/cluster.ts';
import { ClusterLoad, hello, replaced, url } from '../support/cluster-load.ts';
import { scaleControl } from '../support/faults.ts';
import { isReady, until } from '../support/mesh.ts';

const namespace = 'mesh-test-faults';
const rate = 300;
const replicas = 3;

let cluster: TestCluster;
let load: ClusterLoad;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install('--ha');
  await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
  await cluster.apply(...hello(namespace, 'web', replicas), ...hello(namespace, 'idle', 1));
  await cluster.apply(...hello(namespace, 'never', 1));
  load = await ClusterLoad.start(cluster, namespace);
  for (const [app, count] of [['web', replicas] as const, ['idle', 1] as const, ['never', 1] as const])
    expect((await cluster.ready(namespace, app, count)).every(isMeshed)).toBe(true);
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

const steady = (fault: () => Promise<void>) => load.unnoticed(url('web'), rate, fault);

/** Takes a pod away as `kubectl drain` does: again and again, while the budget does not allow it. */
async function evict({ metadata: { name } }: KubeObject): Promise<void> {
  const type = { ...resources.pods, plural: `pods/${name}/eviction` };
  const metadata = { name: name!, namespace };
  await until(
    `${name} is evicted`,
    () =>
      cluster.client.create<KubeObject>(type, { apiVersion: 'policy/v1', kind: 'Eviction', metadata }).then(
        () => true,
        (error: KubeError) => {
          if (error instanceof KubeError && error.status === 429) return false;
          throw error;
        },
      ),
    60,
  );
}

describe(`at ${rate} requests per second none fails`, () => {
  it('while all pods of a service are evicted within their budget', async () => {
    const metadata = { name: 'web', namespace };
    const spec = { maxUnavailable: 1, selector: { matchLabels: { app: 'web' } } };
    await cluster.apply({ apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata, spec });
    await until('the budget counts them', async () => {
      const { status } = await cluster.client.get(resources.podDisruptionBudgets, 'web', namespace);
      return status?.disruptionsAllowed === 1;
    });
    await steady(async () => {
      const before = await cluster.ready(namespace, 'web', replicas);
      for (const pod of before) await evict(pod);
      await replaced(cluster, namespace, 'web', before);
    });
  });

  it('while a Deployment is rolled, and one of its pods is force-deleted', async () => {
    await steady(async () => {
      const before = await cluster.ready(namespace, 'web', replicas);
      const annotations = { turn: 'second' };
      await cluster.client.patch(resources.deployments, 'web', namespace, {
        spec: { template: { metadata: { annotations } } },
      });
      const victim = await until('one pod is new', async () => {
        const now = await cluster.pods(namespace, 'app=web');
        const old = new Set(before.map(({ metadata }) => metadata.uid));
        const isNew = now.some((pod) => isReady(pod) && !old.has(pod.metadata.uid));
        return isNew && now.find((pod) => isReady(pod) && old.has(pod.metadata.uid));
      });
      await cluster.client.delete(resources.pods, victim.metadata.name!, namespace, { gracePeriodSeconds: 0 });
      await replaced(cluster, namespace, 'web', before);
    });
  });

  it('while each replica of the control plane is lost in turn, and pods come and go', async () => {
    await steady(async () => {
      const control = await cluster.pods(controlNamespace);
      expect(control).toHaveLength(3);
      for (const { metadata } of control) {
        await cluster.client.delete(resources.pods, metadata.name!, controlNamespace, { gracePeriodSeconds: 0 });
        const [pod] = await cluster.ready(namespace, 'web', replicas);
        await cluster.client.delete(resources.pods, pod!.metadata.name!, namespace);
        await until(
          'three replicas again',
          async () => (await cluster.pods(controlNamespace)).filter(isReady).length === 3,
          60,
        );
        await cluster.ready(namespace, 'web', replicas);
      }
    });
  });
});

/** Resolves when pods are no longer given a proxy. */
function noInjector(): Promise<unknown> {
  const annotations = { [injectAnnotation]: 'enabled' };
  const probe: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'probe', namespace, annotations },
    spec: { containers: [{ name: 'probe', image: 'none' }] },
  };
  return until('no injector answers', async () => {
    const pod = await cluster.client.create<KubeObject>(resources.pods, probe, { dryRun: true });
    return pod.spec.initContainers === undefined;
  });
}

describe('while the control plane is away', () => {
  it('services answer, pods start; on its return it finds those without a proxy, and `check --fix` meshes them', async () => {
    expect(await load.ask(url('idle'))).toMatchObject({ status: 200, body: 'hello' });
    let back = 0;
    await steady(async () => {
      await scaleControl(cluster, 0);
      await noInjector();
      await cluster.apply(...hello(namespace, 'late', 2));
      const late = await cluster.ready(namespace, 'late', 2);
      expect(late.some(isMeshed)).toBe(false);
      for (const service of ['idle', 'never'])
        expect(await load.ask(url(service))).toMatchObject({ status: 200, body: 'hello' });
      // One made just now is known to its node a moment later than to its Deployment.
      await until('the new service answers', async () => (await load.ask(url('late'))).status === 200, 10);
      await scaleControl(cluster, 3);
      back = performance.now();
    });
    const unmeshed = await until('events on both', async () => {
      const events = await cluster.client.list(resources.events, { namespace, fieldSelector: 'reason=Unmeshed' });
      return events.length === 2 && events;
    });
    process.stderr.write(`pods without a proxy reported ${Math.round(performance.now() - back)} ms after the return\n`);
    for (const event of unmeshed) expect(event.involvedObject.name).toMatch(/^late-/);
    const said = await cluster.mesh(['check', '--proxy', '-o', 'short']);
    for (const event of unmeshed) expect(said).toContain(`${namespace}/${event.involvedObject.name}`);
    const rows = async () =>
      JSON.parse(await cluster.mesh(['stat', 'deploy/late', '-n', namespace, '-o', 'json'])).items;
    expect(await rows()).toMatchObject([{ pods: { meshed: 0, total: 2 } }]);

    const refused = await cluster.run(['check', '--fix', '-o', 'short']);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain(`deployment/late in namespace ${namespace}: 2 pods have no proxy`);
    await load.unnoticed(url('late'), rate, async () => {
      const { exitCode, stdout, stderr } = await cluster.run(['check', '--fix', '--yes', '-o', 'short']);
      expect(stderr).toContain(`Restarted deployment/late in namespace ${namespace}`);
      expect(stdout.trim().split('\n').at(-1)).toContain('results are ✓');
      expect(exitCode).toBe(0);
      expect((await cluster.ready(namespace, 'late', 2)).every(isMeshed)).toBe(true);
    });
    expect(await rows()).toMatchObject([{ pods: { meshed: 2, total: 2 } }]);
    expect((await cluster.run(['check', '--fix'])).stderr).toContain('Nothing to fix');
  });
});
