/** Certificates of a minute's lifetime renewed ten times under steady requests: nobody notices. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { type PodObject, until, workload } from '../support/mesh.ts';
import { hello, unnoticed } from '../support/steady.ts';

const renewals = 10;

describe.skipIf(unable)('certificates live for a minute', () => {
  let mesh: LocalMesh;
  let client: PodObject;
  let server: PodObject;

  beforeAll(async () => {
    mesh = await LocalMesh.install('--control-env', 'MESH_CONTROL_CERTIFICATE_LIFETIME=60s');
    const apps = [workload('client', ['sleep', 'infinity']), workload('web', hello, { port: 8000 })];
    await mesh.apply(apps.join('\n---\n'), true);
    [client] = (await mesh.ready('client')) as [PodObject];
    [server] = (await mesh.ready('web')) as [PodObject];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  /** Certificates that a pod's proxy has got so far. */
  const certificates = async (pod: PodObject) =>
    (await mesh.log(pod, 'mesh-proxy')).match(/certificate until/g)?.length ?? 0;

  test(`no request fails while both ends renew ${renewals} times`, async () => {
    await unnoticed(mesh, client, 'http://web:8000/', 500, async () => {
      for (const pod of [client, server])
        await until(`${renewals} renewals`, async () => (await certificates(pod)) > renewals, renewals * 60);
    });
    const stat = JSON.parse(await mesh.mesh(['stat', 'deploy/web', '-o', 'json'])) as {
      items: { success: number; secured: number }[];
    };
    expect(stat.items).toMatchObject([{ success: 1, secured: 1 }]);
  });
});
