import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { pod, putShop } from '../test-parts.ts';
import { Collector } from './collector.ts';
import { stat } from './stat.ts';

test('of all, workloads, pods that belong to none, and services each have one row', async () => {
  const kube = new FakeKube();
  putShop(kube);
  const alone = pod('alone', '10.244.0.9', { meshed: false });
  kube.put(resources.pods, { ...alone, metadata: { ...alone.metadata, annotations: {} } });
  const cluster = new Cluster(kube);
  await cluster.synced();
  const { rows } = stat(new Collector(), cluster, { kind: 'all', namespace: 'shop' });
  expect(rows.map(({ kind, name, pods }) => ({ name: `${kind}/${name}`, pods }))).toEqual([
    { name: 'deployment/web', pods: { meshed: 1, total: 2 } },
    { name: 'pod/alone', pods: { meshed: 0, total: 1 } },
    { name: 'service/web', pods: null },
  ]);
});
