import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StatResponse } from '../protocol/api.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { pod, TestCluster } from './test-cluster.ts';
import { runMesh } from './test-screen.ts';

const times = { young: '2026-06-01T12:00:00Z', old: '2026-06-01T10:00:00Z', middle: '2026-06-01T11:00:00Z' };
let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
  await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: controlNamespace } });
  for (const [name, startTime] of Object.entries(times)) {
    const replica = pod(controlNamespace, name, { 'app.kubernetes.io/name': controlName });
    await cluster.create({ ...replica, status: { ...replica.status, startTime } });
  }
  answer();
});
afterEach(() => cluster.close());

function answer(more: Partial<StatResponse> = {}): void {
  cluster.control.set('/v1/stat', { status: 200, body: { time: times.young, window_seconds: 60, rows: [], ...more } });
}

function stat(...flags: string[]) {
  const env = { HOME: cluster.home, KUBECONFIG: cluster.kubeconfig };
  return runMesh(['stat', 'deploy', '-n', 'default', ...flags], { env });
}

test('of several replicas the one that runs longest is asked: it has heard the most', async () => {
  expect((await stat('-v')).err).toContain('Asking pod/old for /v1/stat');
});

test('where a replica does not answer, the next is asked, and the first named', async () => {
  cluster.away.add('old');
  const { code, err } = await stat();
  expect(code).toBe(0);
  expect(err).toMatch(/pod\/old .* does not answer.*; pod\/middle is asked in its place/);
  for (const name of ['middle', 'young']) cluster.away.add(name);
  const none = await stat();
  expect(none.code).toBe(4);
  expect(none.err).toContain('errors#control-unreachable');
});

test('replicas that others do not reach are named with what may be missing, on every screen', async () => {
  answer({ unreachable_replicas: [{ pod: 'young', reason: 'no answer within 5 s' }] });
  const said = 'No answer from another replica of the control plane: pod/young (no answer within 5 s)';
  expect((await stat()).err).toContain(`${said}: what proxies tell it may be missing from these figures`);
  const { out } = await stat('-o', 'json');
  expect(JSON.parse(out).unreachable_replicas).toEqual([{ pod: 'young', reason: 'no answer within 5 s' }]);
});
