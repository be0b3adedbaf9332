import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlPod, TestCluster } from './test-cluster.ts';
import { runMesh } from './test-screen.ts';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.start();
  await cluster.create(namespace('mesh-system'), namespace('shop'), namespace('other'), controlPod(true));
  cluster.control.set('/v1/stat', {
    status: 200,
    body: { time: '2026-01-01T00:00:00Z', window_seconds: 60, rows: [] },
  });
  const whole = JSON.parse(readFileSync(cluster.kubeconfig, 'utf8')) as Record<string, unknown>;
  const context = { cluster: 'test', user: 'test', namespace: 'shop' };
  const file = (name: string, config: object) => writeFileSync(join(cluster.home, name), JSON.stringify(config));
  // In two files, as some keep them: where clusters are, and who one is.
  file('clusters', { apiVersion: 'v1', kind: 'Config', clusters: whole.clusters });
  const contexts = [
    { name: 'in-shop', context },
    { name: 'in-other', context: { ...context, namespace: 'other' } },
  ];
  file('contexts', { apiVersion: 'v1', kind: 'Config', 'current-context': 'in-shop', users: whole.users, contexts });
});
afterAll(() => cluster.close());

function namespace(name: string) {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

/** The namespace that a command looked in, as it says with --verbose. */
async function lookedIn(args: string[], env: Record<string, string>): Promise<string> {
  const { err } = await runMesh(['stat', 'deploy', '-v', ...args], { env: { HOME: cluster.home, ...env } });
  return /^Using "(\S+)" at \S+, namespace (\S+)$/m.exec(err)?.slice(1).join(' ') ?? err;
}

describe('the cluster and namespace that are meant', () => {
  const files = () => ({
    KUBECONFIG: ['clusters', 'nowhere', 'contexts'].map((name) => join(cluster.home, name)).join(':'),
  });

  it('are those of the current context, of all files of KUBECONFIG', async () => {
    expect(await lookedIn([], files())).toBe('in-shop shop');
  });

  it('follow --context, and MESH_CONTEXT where there is none', async () => {
    expect(await lookedIn(['--context', 'in-other'], files())).toBe('in-other other');
    expect(await lookedIn([], { ...files(), MESH_CONTEXT: 'in-other' })).toBe('in-other other');
    expect(await lookedIn(['--context', 'in-shop'], { ...files(), MESH_CONTEXT: 'in-other' })).toBe('in-shop shop');
  });

  it('follow -n before MESH_NAMESPACE before the context', async () => {
    expect(await lookedIn([], { ...files(), MESH_NAMESPACE: 'other' })).toBe('in-shop other');
    expect(await lookedIn(['-n', 'default'], { ...files(), MESH_NAMESPACE: 'other' })).toBe('in-shop default');
  });

  it('follow --kubeconfig before MESH_KUBECONFIG before KUBECONFIG', async () => {
    expect(await lookedIn([], { ...files(), MESH_KUBECONFIG: cluster.kubeconfig })).toBe('test default');
    const env = { ...files(), MESH_KUBECONFIG: '/nowhere' };
    expect(await lookedIn(['--kubeconfig', cluster.kubeconfig], env)).toBe('test default');
  });

  it('are refused where the context does not exist, with those that do', async () => {
    const { code, err } = await runMesh(['stat', 'deploy', '--context', 'x'], {
      env: { HOME: cluster.home, ...files() },
    });
    expect(code).toBe(4);
    expect(err).toContain('in-shop, in-other');
  });

  it('act as someone else in each group that is named', async () => {
    const env = { HOME: cluster.home, ...files() };
    const { code, err } = await runMesh(['stat', '--as', 'jane', '--as-group', 'a', '--as-group', 'b', 'deploy'], {
      env,
    });
    expect(code).toBe(4);
    expect(err).toContain('User "jane" cannot list resource "pods"');
    const admin = ['stat', '--as', 'jane', '--as-group', 'a', '--as-group', 'system:masters', 'deploy'];
    expect((await runMesh(admin, { env })).code).toBe(0);
  });
});
