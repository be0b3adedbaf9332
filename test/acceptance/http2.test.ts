/** HTTP/2 and gRPC between pods of a real mesh: each call goes its own way, whoever calls whom. */
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { StatRow } from '../../protocol/api.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { nodeCommand, type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';
import { helloGrpc, unnoticed } from '../support/steady.ts';

const rate = 300;
/** Calls on one connection; prints how many each pod has answered. Arguments: URL, calls. */
const count = nodeCommand(`
import { connect } from 'node:http2';
const [url, calls] = process.argv.slice(1);
const session = connect(url);
const pods = {};
await Promise.all(Array.from({ length: Number(calls) }, () => new Promise((resolve, reject) => {
  const stream = session.request({ ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' });
  stream.on('response', (head) => (pods[head['x-pod']] = (pods[head['x-pod']] ?? 0) + 1));
  stream.on('error', reject).on('close', resolve).resume();
  stream.end('hello');
})));
session.close();
console.log(JSON.stringify(pods));`);
const curl = ['curl', '-s', '-m', '5', '--http2-prior-knowledge', '-w', ' %{http_version} %{http_code}'];

describe.skipIf(unable)('HTTP/2', () => {
  let mesh: TestMesh;
  const pods: Record<string, PodObject> = {};

  beforeAll(async () => {
    mesh = await installMesh('http2');
    const meshed = [
      workload('client', helloGrpc, { port: 8000 }),
      workload('web', helloGrpc, { port: 8000, replicas: 3 }),
    ];
    await mesh.apply(meshed.join('\n---\n'), true);
    await mesh.apply(workload('plain', helloGrpc, { port: 8000 }), false);
    for (const app of ['client', 'plain']) [pods[app]] = (await mesh.ready(app)) as [PodObject];
    [pods.web] = (await mesh.ready('web', 3)) as [PodObject];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  async function answered(from: string, service: string, calls: number): Promise<Record<string, number>> {
    return JSON.parse(await mesh.exec(pods[from]!, ...count, `http://${service}:8000/`, String(calls)));
  }

  test('the calls of one connection are spread over three pods', async () => {
    const counts = await answered('client', 'web', 300);
    const names = (await mesh.ready('web', 3)).map((pod) => pod.metadata.name!).sort();
    expect(Object.keys(counts).sort()).toEqual(names);
    expect(Object.values(counts).reduce((sum, one) => sum + one, 0)).toBe(300);
    for (const one of Object.values(counts)) expect(one).toBeGreaterThan(30);
  });

  test.each([
    ['web', 'client'],
    ['client', 'plain'],
    ['plain', 'web'],
  ])('from %s to %s', async (from, to) => {
    const counts = await answered(from, to, 30);
    expect(Object.values(counts).reduce((sum, one) => sum + one, 0)).toBe(30);
  });

  test('curl with prior knowledge', async () => {
    expect(await mesh.exec(pods.client!, ...curl, 'http://web:8000/')).toBe('hello 2 200');
  });

  test('h2load', async () => {
    const said = await mesh.exec(pods.client!, 'h2load', '-n', '200', '-c', '4', '-m', '10', 'http://web:8000/');
    expect(said).toMatch(/200 succeeded, 0 failed, 0 errored/);
  });

  test('stat counts calls', async () => {
    await answered('client', 'web', 200);
    await until('the calls of web in stat', async () => {
      const { items } = JSON.parse(await mesh.mesh(['stat', 'deploy/web', '-n', mesh.namespace, '-o', 'json'])) as {
        items: StatRow[];
      };
      return items.some((row) => (row.requests_per_second ?? 0) > 0 && row.success === 1 && row.p99_ms !== null);
    });
  });

  test(`a roll of the Deployment at ${rate} calls per second costs none`, async () => {
    await unnoticed(mesh, pods.client!, 'h2c://web:8000/', rate, async () => {
      const old = new Set((await mesh.ready('web', 3)).map((pod) => pod.metadata.uid));
      await mesh.client.patch(resources.deployments, 'web', mesh.namespace, {
        spec: { template: { metadata: { annotations: { turn: 'second' } } } },
      });
      await until('other pods in their place', async () =>
        (await mesh.ready('web', 3)).every((pod) => !old.has(pod.metadata.uid)),
      );
      await wait(500);
    });
  });
});
