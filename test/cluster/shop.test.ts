import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { controlNamespace, injectAnnotation } from '../../protocol/names.ts';
import { isMeshed, TestCluster } from '../support/cluster.ts';
import { isReady, until } from '../support/mesh.ts';

const manifest = join(import.meta.dirname, '../../examples/shop/shop.yaml');
const services = ['cart', 'catalog', 'payment', 'web'];

interface Row {
  name: string;
  pods: { meshed: number; total: number };
  secured: number | null;
  success: number | null;
  requests_per_second: number | null;
  p99_ms: number | null;
}

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install();
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

/** All pods of the shop, meshed and ready; then what stat says of them once each served and the start is forgotten. */
async function traffic(): Promise<Row[]> {
  await until(
    'six meshed pods are ready',
    async () => {
      const pods = await cluster.pods('shop');
      return pods.length === 6 && pods.every((pod) => isReady(pod) && isMeshed(pod));
    },
    90,
  );
  return until(
    'every service of the shop has traffic, most of it encrypted, and payment alone fails',
    async () => {
      const { items } = JSON.parse(await cluster.mesh(['stat', 'deploy', '-n', 'shop', '-t', '10s', '-o', 'json']));
      const rows = (items as Row[]).filter((row) => services.includes(row.name));
      const failing = rows.filter((row) => row.success !== null && row.success < 1).map((row) => row.name);
      const busy = rows.filter((row) => (row.requests_per_second ?? 0) > 1);
      // Above half, not all: the kubelet's own probes are connections without a proxy.
      const secured = rows.every((row) => (row.secured ?? 0) > 0.5);
      return secured && busy.length === services.length && failing.join() === 'payment' && rows;
    },
    60,
  );
}

describe('the shop, unchanged', () => {
  it('is meshed by `mesh inject`, and stat finds the service that fails', async () => {
    await cluster.mesh(['apply', '-f', '-'], await cluster.mesh(['inject', manifest]));
    const rows = await traffic();
    for (const row of rows) {
      expect(row.pods.meshed).toBe(row.pods.total);
      expect(row.p99_ms).toBeGreaterThan(0);
    }
    expect(rows.find((row) => row.name === 'payment')!.success).toBeGreaterThan(0.5);
    expect(await cluster.mesh(['check', '--proxy'])).toContain('results are ✓');
    const all = JSON.parse(await cluster.mesh(['stat', 'deploy', '-A', '-o', 'json'])) as {
      items: { namespace: string }[];
    };
    expect(all.items.some((item) => item.namespace === 'shop')).toBe(true);
    await cluster.namespace('shop', { [injectAnnotation]: 'enabled' });
  });

  it('is meshed by the webhook in an annotated namespace, with native sidecars', async () => {
    await cluster.mesh(['apply', '-f', manifest]);
    await traffic();
    expect(await cluster.mesh(['check', '--proxy'])).toContain('results are ✓');
    const [pod] = await cluster.pods('shop', 'app=web');
    const names = pod!.spec.initContainers.map((one: { name: string; restartPolicy?: string }) => [
      one.name,
      one.restartPolicy,
    ]);
    expect(names).toEqual([
      ['mesh-init', undefined],
      ['mesh-proxy', 'Always'],
    ]);
    // What is stored is the manifest's own template: the webhook touches pods only.
    const web = await cluster.client.get(resources.deployments, 'web', 'shop');
    expect(web.spec.template.spec.initContainers).toBeUndefined();
    expect(readFileSync(manifest, 'utf8')).not.toContain('mesh-proxy');
  });

  it('is known to every replica of the control plane, whichever its proxies report to', async () => {
    await cluster.install('--ha');
    const replicas = await until('only the three replicas are left', async () => {
      const pods = await cluster.pods(controlNamespace);
      return pods.length === 3 && pods;
    });
    for (const { metadata } of replicas) {
      await until(`${metadata.name} knows the traffic of every service`, async () => {
        const query = '/v1/stat?kind=deployment&namespace=shop&window=10';
        const { rows } = await cluster.ask<{ rows: Row[] }>(metadata.name!, query);
        return services.every((name) => rows.some((row) => row.name === name && (row.requests_per_second ?? 0) > 1));
      });
    }
  });

  it('keeps the mesh from being removed under it', async () => {
    const { exitCode, stderr } = await cluster.run(['uninstall', '--yes']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('errors#pods-still-meshed');
  });
});
