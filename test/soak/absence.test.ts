/** The control plane killed for two minutes under steady requests: nobody notices. */
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scaleControl } from '../support/faults.ts';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { type PodObject, workload } from '../support/mesh.ts';
import { hello, unnoticed } from '../support/steady.ts';

const awayMs = 120_000;

describe.skipIf(unable)('the control plane is killed for two minutes', () => {
  let mesh: LocalMesh;
  let client: PodObject;
  const answer = (service: string) => mesh.exec(client, 'curl', '-s', '-m', '5', `http://${service}:8000/`);

  beforeAll(async () => {
    mesh = await LocalMesh.install();
    const services = ['web', 'idle', 'never'].map((name) => workload(name, hello, { port: 8000, replicas: 2 }));
    await mesh.apply([workload('client', ['sleep', 'infinity']), ...services].join('\n---\n'), true);
    [client] = (await mesh.ready('client')) as [PodObject];
    await Promise.all(['web', 'idle', 'never'].map((app) => mesh.ready(app, 2)));
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  test('no request fails, and a service idle all that time and one never dialled before answer', async () => {
    expect(await answer('idle')).toBe('hello');
    const { sent } = await unnoticed(mesh, client, 'http://web:8000/', 500, async () => {
      await scaleControl(mesh, 0);
      await wait(awayMs);
      expect(await answer('idle')).toBe('hello');
      expect(await answer('never')).toBe('hello');
      await scaleControl(mesh, 1);
    });
    expect(sent).toBeGreaterThan((awayMs / 1000) * 500 * 0.8);
  });
});
