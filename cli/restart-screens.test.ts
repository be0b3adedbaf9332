/** What commands that restart workloads show: `check --fix` and `upgrade --restart-workloads`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import type { ControlStatus, UnmeshedPod } from '../protocol/api.ts';
import { meshedLabel, proxyVersionAnnotation, validateContainer, workloadAnnotation } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import { defaultCni } from '../templates/cni.ts';
import { pod, type TestCluster, withInjector } from './test-cluster.ts';
import { healthy, screenOf } from './test-healthy.ts';
import type { RunOptions } from './test-screen.ts';

const reached: RunOptions = { change: withInjector };
let cluster: TestCluster;
beforeEach(async () => {
  cluster = await healthy();
  cluster.runControllers();
  cluster.control.set('/v1/stat', { status: 200, body: { rows: [] } });
});
afterEach(() => cluster.close());

const restartedAt = (): string | undefined =>
  cluster.objects.get(resources.deployments, 'web', 'shop')!.spec.template.metadata.annotations?.[
    'mesh.dev/restarted-at'
  ];

/** What a controller does: new pods, once the template is another. `then` is told of it. */
function rollWhenRestarted(then: () => unknown): void {
  const rolled = new Set<string>();
  cluster.objects.watch(resources.deployments, ({ object }) => {
    const { metadata, spec } = object as KubeObject;
    const at = spec.template.metadata.annotations?.['mesh.dev/restarted-at'];
    if (metadata.name !== 'web' || at === undefined || rolled.has(at)) return;
    rolled.add(at);
    queueMicrotask(async () => {
      await then();
      await cluster.rolledOut(undefined, 'web', 'shop');
    });
  });
}

describe('check --fix', () => {
  const asks = 'namespace shop asks for a proxy, and the pod has none: restart it';
  const unmeshed = (name: string, kind: string, owner: string, restart = true): UnmeshedPod => ({
    ...{ namespace: 'shop', pod: name, workload: { namespace: 'shop', kind, name: owner } },
    reason: restart ? asks : 'namespace shop asks for a proxy that it cannot have: a reason',
    restart_helps: restart,
  });
  const lonely = [
    unmeshed('batch-1', 'pod', 'batch-1'),
    unmeshed('job-1', 'job', 'job'),
    unmeshed('os', 'pod', 'os', false),
  ];
  const web = ['web-3', 'web-4'].map((name) => unmeshed(name, 'deployment', 'web'));

  function tell(pods: UnmeshedPod[]): void {
    const { body } = cluster.control.get('/v1/status') as { body: ControlStatus };
    cluster.control.set('/v1/status', { status: 200, body: { ...body, unmeshed: pods } });
  }

  it('restarts what lacks a proxy, says what it cannot restart, and checks again', async () => {
    tell([...web, ...lonely]);
    rollWhenRestarted(() => tell(lonely));
    const { code, out } = await screenOf(cluster, 'check/fix', ['check', '--fix', '--yes', '-o', 'short'], reached);
    expect(code).toBe(0);
    expect(out).toContain('5 pods have no proxy');
    expect(out).toContain('3 pods have no proxy');
    expect(restartedAt()).toBeDefined();
  });

  it('prints as data what is so afterwards', async () => {
    tell(web);
    rollWhenRestarted(() => tell([]));
    const { code, out } = await screenOf(cluster, 'check/fix-json', ['check', '--fix', '--yes', '-o', 'json'], reached);
    expect(code).toBe(0);
    expect(JSON.stringify(JSON.parse(out))).not.toContain('warning');
  });

  it('restarts nothing without a yes', async () => {
    tell(web);
    const args = ['check', '--fix', '-o', 'short'];
    expect((await screenOf(cluster, 'check/fix-unasked', args, reached)).code).toBe(2);
    const asked = { ...reached, terminal: true, stdin: 'n\n' };
    expect((await screenOf(cluster, 'check/fix-declined', args, asked)).code).toBe(1);
    expect(restartedAt()).toBeUndefined();
  });

  it('says that there is nothing to fix', async () => {
    expect((await screenOf(cluster, 'check/fix-nothing', ['check', '--fix', '-o', 'short'])).code).toBe(0);
    tell(lonely);
    expect((await screenOf(cluster, 'check/fix-cannot', ['check', '--fix', '--yes', '-o', 'short'])).code).toBe(0);
  });

  it('leaves all as it is while the control plane is not well', async () => {
    tell(web);
    await cluster.rolledOut(0);
    const args = ['check', '--fix', '--yes', '-o', 'short', '--wait', '0'];
    expect((await screenOf(cluster, 'check/fix-ill', args, reached)).code).toBe(3);
    expect(restartedAt()).toBeUndefined();
  });

  it('is not for a mesh that is not there yet', async () => {
    expect((await screenOf(cluster, 'check/fix-pre', ['check', '--fix', '--pre'])).code).toBe(2);
  });
});

describe('check --fix, with the CNI plugin', () => {
  beforeEach(async () => {
    await cluster.close();
    cluster = await healthy(defaultCni);
    cluster.control.set('/v1/stat', { status: 200, body: { rows: [] } });
    await cluster.create(late('web-5', 'web'), late('web-6', 'web'), late('lone', undefined));
  });

  /** Its first container looked for the rules in vain. */
  function late(name: string, owner: string | undefined): KubeObject {
    const made = pod('shop', name, { [meshedLabel]: 'enabled' }, false, { [proxyVersionAnnotation]: version });
    const terminated = { exitCode: 1, message: 'not redirected' };
    const status = { name: validateContainer, ready: false, restartCount: 2, state: { terminated } };
    const controller = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner!, uid: 'uid', controller: true };
    const metadata = { ...made.metadata, ...(owner ? { ownerReferences: [controller] } : {}) };
    return { ...made, metadata, status: { phase: 'Pending', conditions: [], initContainerStatuses: [status] } };
  }
  const left = () =>
    cluster.objects
      .list(resources.pods, { namespace: 'shop' })
      .map(({ metadata }) => metadata.name)
      .filter((name) => /web-[56]|lone/.test(name!));

  it('deletes the pods that came before it, waits for none of them, and says which nothing makes anew', async () => {
    const args = ['check', '--fix', '--yes', '-o', 'short', '--wait', '1h'];
    expect((await screenOf(cluster, 'check/fix-cni', args, reached)).code).toBe(3);
    expect(left()).toEqual(['lone']);
  });

  it('deletes none without a yes, or while the plugin is not on every node', async () => {
    const args = ['check', '--fix', '-o', 'short', '--wait', '0'];
    expect((await screenOf(cluster, 'check/fix-cni-unasked', args, reached)).code).toBe(2);
    await cluster.onEveryNode(1);
    const { code, err } = await screenOf(cluster, 'check/fix-cni-ill', [...args, '--yes'], reached);
    expect(code).toBe(3);
    expect(err).toContain('Nothing was fixed');
    expect(left()).toHaveLength(3);
  });
});

describe('upgrade', () => {
  /** The proxies of both pods of web are of an older version, and of a pod that nothing makes anew. */
  async function age(): Promise<void> {
    const annotations = { [proxyVersionAnnotation]: '0.0.1', [workloadAnnotation]: 'deployment/web' };
    for (const name of ['web-1', 'web-2']) {
      const one = cluster.objects.get(resources.pods, name, 'shop')!;
      await cluster.objects.update(resources.pods, { ...one, metadata: { ...one.metadata, annotations } });
    }
    const alone = { [proxyVersionAnnotation]: '0.0.1' };
    await cluster.create(pod('shop', 'alone', { [meshedLabel]: 'enabled' }, true, alone));
  }

  it('names old proxies, then restarts what it can', async () => {
    await age();
    expect((await screenOf(cluster, 'upgrade/pipe', ['upgrade'], reached)).code).toBe(0);
    expect((await screenOf(cluster, 'upgrade/terminal', ['upgrade'], { ...reached, terminal: true })).code).toBe(0);
    rollWhenRestarted(() =>
      Promise.all(['web-1', 'web-2'].map((name) => cluster.objects.remove(resources.pods, name, 'shop'))),
    );
    expect((await screenOf(cluster, 'upgrade/restart', ['upgrade', '--restart-workloads'], reached)).code).toBe(0);
  });
});
