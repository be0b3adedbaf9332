/** Pods that start while the control plane is away, and `mesh check --fix` on its return. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { injectAnnotation, meshedLabel } from '../../protocol/names.ts';
import { scaleControl } from '../support/faults.ts';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { until, workload } from '../support/mesh.ts';
import { hello } from '../support/steady.ts';

describe.skipIf(unable)('the control plane is away while pods start', () => {
  let mesh: LocalMesh;
  beforeAll(async () => {
    mesh = await LocalMesh.install();
    const metadata = { annotations: { [injectAnnotation]: 'enabled' } };
    await mesh.client.patch(resources.namespaces, 'default', undefined, { metadata });
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const meshed = (pods: KubeObject[]) => pods.map((pod) => pod.metadata.labels?.[meshedLabel] === 'enabled');

  test('they start without a proxy, are named, and have one after `check --fix`', async () => {
    await scaleControl(mesh, 0);
    const lonely = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'lonely', labels: { app: 'lonely' } } };
    const spec = { containers: [{ name: 'main', image: 'programs:here', command: ['sleep', 'infinity'] }] };
    const documents = [workload('late', hello, { port: 8000, replicas: 2 }), JSON.stringify({ ...lonely, spec })];
    await mesh.apply(documents.join('\n---\n'), false);
    expect(meshed(await mesh.ready('late', 2))).toEqual([false, false]);
    await scaleControl(mesh, 1);
    await until('events on all three', async () => {
      const events = await mesh.client.list(resources.events, { namespace: 'default' });
      return events.filter((event) => event.reason === 'Unmeshed').length === 3;
    });
    expect(await mesh.mesh(['check', '--proxy'])).toContain('3 pods have no proxy');
    const fixed = await mesh.mesh(['check', '--fix', '--yes']);
    expect(fixed).toContain('1 pod has no proxy:\n    * default/lonely');
    expect(meshed(await mesh.ready('late', 2))).toEqual([true, true]);
  });
});
