import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resources } from '../kube/resources.ts';
import type { Json } from '../kube/types.ts';
import { cniName, controlName, controlNamespace, meshedLabel, validateContainer } from '../protocol/names.ts';
import { cniOf, defaultCni } from '../templates/cni.ts';
import { pod, TestCluster, withInjector } from './test-cluster.ts';
import { type RunOptions, runMesh } from './test-screen.ts';

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
});
afterEach(() => cluster.close());

function mesh(args: string[], options: RunOptions = {}) {
  const env = { HOME: cluster.home, KUBECONFIG: cluster.kubeconfig, LANG: 'C.UTF-8' };
  return runMesh(args, { ...options, env });
}

const control = () => cluster.objects.get(resources.deployments, controlName, controlNamespace)!;
const daemonSet = () => cluster.objects.get(resources.daemonSets, cniName, cniName);
const folders = ['--cni-bin-dir', '/var/lib/cni/bin', '--cni-conf-dir', '/var/lib/cni/conf'];

describe('install --cni', () => {
  it('puts the plugin on the nodes before the control plane, and keeps its folders in an upgrade', async () => {
    cluster.runControllers();
    const order: string[] = [];
    for (const type of [resources.daemonSets, resources.deployments])
      cluster.objects.watch(type, ({ type: what, object }) => {
        if (what === 'ADDED') order.push(object.kind);
      });
    const { code } = await mesh(['install', '--cni', ...folders], { change: withInjector });
    expect(code).toBe(0);
    expect(order).toEqual(['DaemonSet', 'Deployment']);
    const { template } = daemonSet()!.spec;
    expect(template.spec.volumes.map((volume: Json) => volume.hostPath.path)).toEqual([
      '/var/lib/cni/bin',
      '/var/lib/cni/conf',
    ]);
    const env = { name: 'MESH_CONTROL_CNI', value: 'true' };
    expect(control().spec.template.spec.containers[0].env).toContainEqual(env);
    const before = daemonSet()!.spec;
    expect((await mesh(['upgrade'], { change: withInjector })).code).toBe(0);
    expect(daemonSet()!.spec).toEqual(before);
    expect(cniOf(control())).toEqual({ binDir: '/var/lib/cni/bin', confDir: '/var/lib/cni/conf' });
    expect(control().spec.template.spec.containers[0].env).toContainEqual(env);
  });

  it('goes back with an install without it, and uninstall leaves nothing of it', async () => {
    cluster.runControllers();
    expect((await mesh(['install', '--cni'], { change: withInjector })).code).toBe(0);
    expect((await mesh(['install', '-v'], { change: withInjector })).err).toContain('daemonset.apps/mesh-cni deleted');
    expect(daemonSet()).toBeUndefined();
    expect(cniOf(control())).toBeUndefined();
    const { env } = control().spec.template.spec.containers[0];
    expect(env.map((one: Json) => one.name)).not.toContain('MESH_CONTROL_CNI');
    expect((await mesh(['install', '--cni'], { change: withInjector })).code).toBe(0);
    expect((await mesh(['uninstall', '--yes'])).code).toBe(0);
    const left = [resources.namespaces, resources.daemonSets, resources.clusterRoles, resources.clusterRoleBindings]
      .flatMap((type) => cluster.objects.list(type))
      .map(({ metadata }) => metadata.name)
      .filter((name) => name!.startsWith('mesh'));
    expect(left).toEqual([]);
  });

  it.each([
    [['--cni-bin-dir', '/opt'], 'Pass --cni too'],
    [['--cni', '--cni-conf-dir', 'net.d'], '"net.d" is not an absolute path'],
  ])('refuses %j', async (flags, why) => {
    const { code, err } = await mesh(['install', ...flags]);
    expect(code).toBe(2);
    expect(err).toContain(why);
  });

  it('is refused by the local mesh, which has no CNI', async () => {
    const env = { HOME: cluster.home, MESH_HOME: `${cluster.home}/none` };
    const { code, err } = await runMesh(['install', '--cni'], { env });
    expect(code).toBe(2);
    expect(err).toContain('The local mesh has no CNI plugins');
  });

  it('says what a node waits for that does not get the plugin, in the words of its agent', async () => {
    const agent = pod(cniName, 'mesh-cni-1', {}, false);
    cluster.objects.watch(resources.namespaces, ({ type, object }) => {
      if (type === 'ADDED' && object.metadata.name === cniName)
        queueMicrotask(() => void cluster.create({ ...agent, spec: { ...agent.spec, nodeName: 'node-7' } }));
    });
    cluster.logs.set('mesh-cni-1/main', '2026-01-01T00:00:00Z mesh-cni: there is no network configuration yet\n');
    const { code, err } = await mesh(['install', '--cni', '--wait', '0']);
    expect(code).toBe(5);
    expect(err).toContain('pod/mesh-cni-1 on node node-7: there is no network configuration yet');
    // Nobody is told to wait for a plugin that is not there.
    expect(cluster.objects.get(resources.deployments, controlName, controlNamespace)).toBeUndefined();
  });
});

describe('check', () => {
  const lines = async (): Promise<string[]> => {
    const { out } = await mesh(['check', '--wait', '0', '-o', 'json']);
    const { categories } = JSON.parse(out);
    const found = categories.find((one: Json) => one.categoryName === 'mesh-cni');
    return (found?.checks ?? []).map(
      (one: Json) => `${one.id} ${one.result}${one.error || one.detail ? `: ${one.error ?? one.detail}` : ''}`,
    );
  };

  it('says nothing of a plugin where none is asked for', async () => {
    await cluster.install();
    expect(await lines()).toEqual([]);
  });

  it('finds the plugin on every node', async () => {
    await cluster.install(defaultCni);
    expect(await lines()).toEqual(['cni-exists success', 'cni-ready success: 2 nodes', 'cni-redirected success']);
  });

  it('names what is missing, the node without the plugin, and pods that came before it', async () => {
    await cluster.install(defaultCni);
    await cluster.objects.remove(resources.clusterRoles, cniName);
    expect(await lines()).toEqual([
      'cni-exists error: missing: clusterrole/mesh-cni',
      'cni-ready skipped: cni-exists failed',
      'cni-redirected skipped: cni-exists failed',
    ]);
    await mesh(['install', '--cni', '--wait', '0']);
    await cluster.onEveryNode(1);
    const agent = pod(cniName, 'mesh-cni-2', {}, false);
    const late = pod('default', 'web-1', { [meshedLabel]: 'enabled' }, false);
    await cluster.create({ ...agent, spec: { ...agent.spec, nodeName: 'node-2' } }, late);
    cluster.logs.set('mesh-cni-2/main', '2026-01-01T00:00:00Z mesh-cni: no room\n');
    await cluster.objects.updateStatus(resources.pods, 'web-1', 'default', () => ({
      phase: 'Pending',
      initContainerStatuses: [
        {
          ...{ name: validateContainer, ready: false, restartCount: 2 },
          state: { waiting: { reason: 'CrashLoopBackOff' } },
          lastState: { terminated: { exitCode: 1 } },
        },
      ],
    }));
    expect(await lines()).toEqual([
      'cni-exists success',
      'cni-ready error: 1 of 2 nodes have it: pod/mesh-cni-2 on node node-2: no room',
      'cni-redirected error: 1 pod was made without it:\n* default/web-1',
    ]);
  });
});
