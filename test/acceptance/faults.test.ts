/** What clients in the mesh notice while parts of it die: nothing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { nodeCommand, type PodObject, TestMesh, unable, until, workload } from '../support/mesh.ts';

const hello = `
import { createServer } from 'node:http';
const server = createServer((request, response) => setTimeout(() => response.end('hello'), 2)).listen(8000);
process.on('SIGTERM', () => server.close(() => process.exit(0)));`;
/** Sends 100 requests a second until its input ends, then prints what became of them. */
const steady = `
import { Agent, get } from 'node:http';
const agent = new Agent({ keepAlive: true });
let done = 0;
const failures = {};
const fail = (why) => (failures[why] = (failures[why] ?? 0) + 1);
const timer = setInterval(() => {
  const request = get({ host: process.argv[1], port: 8000, agent, timeout: 10000 }, (response) => {
    if (response.statusCode !== 200) fail('status ' + response.statusCode);
    response.resume().on('end', () => done++).on('error', () => fail('cut off'));
  });
  request.on('timeout', () => request.destroy(new Error('timeout'))).on('error', (error) => fail(error.message));
}, 10);
process.stdin.resume().on('end', () => {
  clearInterval(timer);
  setTimeout(() => { console.log(JSON.stringify({ done, failures })); process.exit(0); }, 500);
});`;

describe.skipIf(unable)('faults', () => {
  let mesh: TestMesh;
  let client: PodObject;

  beforeAll(async () => {
    mesh = await TestMesh.install();
    const meshed = [
      workload('client', ['sleep', 'infinity']),
      workload('web', nodeCommand(hello), { port: 8000, replicas: 3 }),
    ];
    await mesh.apply(meshed.join('\n---\n'), true);
    [client] = (await mesh.ready('client')) as [PodObject];
    await mesh.ready('web', 3);
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  /** Steady requests before, during and after a fault; none may fail. */
  async function unnoticed(fault: () => Promise<void>): Promise<void> {
    const [program, ...args] = mesh.inside(client, ...nodeCommand(steady), (await service()).spec.clusterIP);
    const load = execa(program!, args, { timeout: 60_000, env: { HOME: '/' }, stdin: 'pipe' });
    try {
      await wait(1000);
      await fault();
      await wait(1000);
    } finally {
      load.stdin.end();
    }
    const { done, failures } = JSON.parse((await load).stdout) as { done: number; failures: Record<string, number> };
    expect(failures).toEqual({});
    expect(done).toBeGreaterThan(150);
  }

  const service = () =>
    mesh.client.get<PodObject & { spec: { clusterIP: string } }>(resources.services, 'web', 'default');

  test('a pod of the service is removed without grace', async () => {
    await unnoticed(async () => {
      const [victim] = await mesh.ready('web', 3);
      await mesh.client.delete(resources.pods, victim!.metadata.name!, 'default', { gracePeriodSeconds: 0 });
      await until('another pod', async () => (await mesh.pods('web')).every((pod) => pod !== victim));
      await mesh.ready('web', 3);
    });
  });

  test('the Deployment is rolled', async () => {
    await unnoticed(async () => {
      const before = new Set((await mesh.ready('web', 3)).map((pod) => pod.metadata.uid));
      await mesh.client.patch(resources.deployments, 'web', 'default', {
        spec: { template: { metadata: { annotations: { turn: 'second' } } } },
      });
      await until('three new pods alone', async () =>
        (await mesh.ready('web', 3)).every((pod) => !before.has(pod.metadata.uid)),
      );
    });
  });

  test('the control plane is away for a while', async () => {
    const scale = (replicas: number) =>
      mesh.client.patch(resources.deployments, 'mesh-control', 'mesh-system', { spec: { replicas } });
    await unnoticed(async () => {
      await scale(0);
      await wait(5000);
      await scale(1);
      await until('a control plane', async () => {
        const control = await mesh.client.get<PodObject & { status: { readyReplicas?: number } }>(
          resources.deployments,
          'mesh-control',
          'mesh-system',
        );
        return control.status.readyReplicas === 1;
      });
    });
  });

  test('the daemon of the local mesh is killed', async () => {
    const daemon = () => {
      try {
        return (JSON.parse(readFileSync(join(mesh.home, 'run/daemon.json'), 'utf8')) as { pid: number }).pid;
      } catch {
        return undefined; // It is being written.
      }
    };
    await unnoticed(async () => {
      const before = daemon()!;
      process.kill(before, 'SIGKILL');
      await until('another daemon', () => daemon() !== undefined && daemon() !== before);
      await until('its API', () =>
        mesh.client.version().then(
          () => true,
          () => false,
        ),
      );
    });
  });
});
