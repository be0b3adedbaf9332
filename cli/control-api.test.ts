import { expect, test } from 'vitest';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { pod, TestCluster } from './test-cluster.ts';
import { runMesh } from './test-screen.ts';

test('of several replicas the one that runs longest is asked: it has heard the most', async () => {
  const cluster = await TestCluster.start();
  try {
    const times = { young: '2026-06-01T12:00:00Z', old: '2026-06-01T10:00:00Z', middle: '2026-06-01T11:00:00Z' };
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: controlNamespace } });
    for (const [name, startTime] of Object.entries(times)) {
      const replica = pod(controlNamespace, name, { 'app.kubernetes.io/name': controlName });
      await cluster.create({ ...replica, status: { ...replica.status, startTime } });
    }
    const body = { time: times.young, window_seconds: 60, rows: [] };
    cluster.control.set('/v1/stat', { status: 200, body });
    const env = { HOME: cluster.home, KUBECONFIG: cluster.kubeconfig };
    const { err } = await runMesh(['stat', 'deploy', '-n', 'default', '-v'], { env });
    expect(err).toContain('Asking pod/old for /v1/stat');
  } finally {
    await cluster.close();
  }
});
