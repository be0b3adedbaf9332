/** What clients in the mesh notice while parts of it die: nothing. Longer absences are in test/soak. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { killDaemon, scaleControl } from '../support/faults.ts';
import { onCluster, unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import type { LocalMesh } from '../support/local-mesh.ts';
import { type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';
import { hello, unnoticed } from '../support/steady.ts';

/** A cluster on the same machine leaves less of it. */
const rate = onCluster ? 300 : 500;

if (onCluster) process.stderr.write('a killed daemon, skipped: only a local mesh has one\n');

describe.skipIf(unable)(`faults at ${rate} requests per second`, () => {
  let mesh: TestMesh;
  let client: PodObject;

  beforeAll(async () => {
    mesh = await installMesh('faults');
    const meshed = [
      workload('client', ['sleep', 'infinity']),
      workload('web', hello, { port: 8000, replicas: 3, pod: { shareProcessNamespace: true } }),
      workload('never', hello, { port: 8000 }),
    ];
    await mesh.apply(meshed.join('\n---\n'), true);
    [client] = (await mesh.ready('client')) as [PodObject];
    await Promise.all([mesh.ready('web', 3), mesh.ready('never')]);
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const steady = (fault: () => Promise<void>) => unnoticed(mesh, client, 'http://web:8000/', rate, fault);
  /** The pods that were there are gone, and as many others are ready. */
  const replaced = (before: PodObject[]) => {
    const old = new Set(before.map((pod) => pod.metadata.uid));
    const others = async () => (await mesh.ready('web', 3)).every((pod) => !old.has(pod.metadata.uid));
    return until('other pods in their place', others, 90);
  };

  test('of three endpoints one is killed and another drained', async () => {
    await steady(async () => {
      const [killed, drained] = (await mesh.ready('web', 3)) as [PodObject, PodObject];
      const remove = (pod: PodObject, options: { gracePeriodSeconds?: number }) =>
        mesh.client.delete(resources.pods, pod.metadata.name!, mesh.namespace, options);
      await Promise.all([remove(killed, { gracePeriodSeconds: 0 }), remove(drained, {})]);
      await replaced([killed, drained]);
    });
  });

  test('the program of an endpoint is killed again and again', async () => {
    await steady(async () => {
      const [victim] = (await mesh.ready('web', 3)) as [PodObject];
      for (let kills = 0; kills < 2; kills++) await mesh.killProgram(victim);
      await mesh.ready('web', 3);
    });
  });

  test('the Deployment is rolled', async () => {
    await steady(async () => {
      const before = await mesh.ready('web', 3);
      await mesh.client.patch(resources.deployments, 'web', mesh.namespace, {
        spec: { template: { metadata: { annotations: { turn: 'second' } } } },
      });
      await replaced(before);
    });
  });

  test('the control plane is away, and a service never dialled before answers', async () => {
    await steady(async () => {
      await scaleControl(mesh, 0);
      expect(await mesh.exec(client, 'curl', '-s', '-m', '5', 'http://never:8000/')).toBe('hello');
      await scaleControl(mesh, 1);
    });
  });

  test.skipIf(onCluster)('the daemon of the local mesh is killed', async () => {
    await steady(() => killDaemon(mesh as LocalMesh));
  });
});
