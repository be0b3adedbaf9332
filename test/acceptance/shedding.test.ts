/** Overload and cold starts on a real mesh: who is answered, who is told to come again, and what the application sees. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { nodeCommand, type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';
import { capacity, limited, type Offered, offer, type Protocol } from '../support/overload.ts';

/** Answers with the name of its pod; what its probe asks for is counted apart, and told by another port. */
const named = nodeCommand(`
import { createServer } from 'node:http';
import { hostname } from 'node:os';
let probes = 0;
createServer((request, response) => {
  if (request.url === '/healthz') probes++;
  setTimeout(() => response.end(hostname()), 2);
}).listen(8000);
createServer((request, response) => response.end(String(probes))).listen(9000);`);

/** Asks 200 times a second; prints how many each pod answered, from the first answer of a pod that is not in the list. */
const shares = nodeCommand(`
import { Agent, get } from 'node:http';
const [url, known, wanted] = process.argv.slice(1);
const agent = new Agent({ keepAlive: true });
let counts;
let sum = 0;
console.log('asking');
const timer = setInterval(() => get(url, { agent }, (response) => {
  let pod = '';
  response.setEncoding('utf8').on('data', (text) => (pod += text)).on('end', () => {
    if (!known.split(',').includes(pod)) counts ??= {};
    if (!counts || sum >= Number(wanted)) return;
    counts[pod] = (counts[pod] ?? 0) + 1;
    if (++sum < Number(wanted)) return;
    clearInterval(timer);
    console.log(JSON.stringify(counts));
    process.exit(0);
  });
}).on('error', () => {}), 5);`);

const probe = { httpGet: { path: '/healthz', port: 8000 }, periodSeconds: 1 };

describe.skipIf(unable)('overload', () => {
  let mesh: TestMesh;
  let client: PodObject;
  const replicas = (count: number) => workload('named', named, { port: 8000, replicas: count });

  beforeAll(async () => {
    mesh = await installMesh('shedding');
    const guarded = (protocol: Protocol) =>
      workload(`guarded-${protocol}`, limited(protocol), { port: 8000, settings: { 'load-shedding': 'enabled' } });
    const probed = workload('probed', named, { port: 8000, readinessProbe: probe });
    const meshed = [
      workload('client', ['sleep', 'infinity']),
      ...[guarded('http1'), guarded('http2')],
      ...[workload('open', limited('http1'), { port: 8000 }), probed, replicas(3)],
    ];
    await mesh.apply(meshed.join('\n---\n'), true);
    [client] = (await mesh.ready('client')) as [PodObject];
    await Promise.all(['guarded-http1', 'guarded-http2', 'open', 'probed'].map((app) => mesh.ready(app)));
    await mesh.ready('named', 3);
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  /** Twice its capacity, after a calm while. */
  const overload = async (app: string, protocol: Protocol): Promise<Offered> => {
    const load = ['40', '3', String(2 * capacity), '10'];
    return JSON.parse(await mesh.exec(client, ...offer, `http://${app}:8000/`, protocol, ...load));
  };

  test.each<Protocol>(['http1', 'http2'])(
    'an application that sheds load answers in time what it takes in: %s',
    async (protocol) => {
      const app = `guarded-${protocol}`;
      const offered = await overload(app, protocol);
      expect(offered.others).toEqual({});
      expect(offered.heard).toEqual(['overloaded; the server is overloaded | 1']);
      expect(offered.answered + offered.shed).toBe(offered.sent);
      const [pod] = (await mesh.ready(app)) as [PodObject];
      // What was turned away it has not seen. (The calm before is 120 requests.)
      const seen = Number(await mesh.exec(pod, 'curl', '-s', 'http://127.0.0.1:9000/'));
      expect(seen - offered.answered).toBeGreaterThanOrEqual(100);
      expect(seen - offered.answered).toBeLessThanOrEqual(120);
      const metrics = await mesh.exec(pod, 'curl', '-s', 'http://127.0.0.1:4191/metrics');
      expect(Number(/^mesh_inbound_shed_total\{port="8000"\} (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThanOrEqual(
        offered.shed,
      );
    },
  );

  test('one that does not answers ever later', async () => {
    const offered = await overload('open', 'http1');
    expect(offered.shed).toBe(0);
    expect(offered.answered - offered.soon).toBeGreaterThan(offered.soon / 2);
  });

  test('probes count nowhere, and reach the application', async () => {
    const [pod] = (await mesh.ready('probed')) as [PodObject];
    const probes = () => mesh.exec(pod, 'curl', '-s', 'http://127.0.0.1:9000/');
    const before = Number(await probes());
    await until('more probes', async () => Number(await probes()) > before + 3);
    const metrics = await mesh.exec(pod, 'curl', '-s', 'http://127.0.0.1:4191/metrics');
    expect(metrics).toMatch(/^mesh_requests_total\{direction="inbound",.* 0$/m);
    expect(metrics).not.toMatch(/^mesh_requests_total\{direction="inbound",.* [1-9]/m);
  });

  test('a pod that joins others gets less than its share at first', async () => {
    const known = (await mesh.ready('named', 3)).map((one) => one.metadata.name!);
    const running = mesh.start(client, ...shares, 'http://named:8000/', known.join(','), '300');
    await new Promise((resolve) => running.stdout.once('data', resolve));
    const deployment = await mesh.client.get(resources.deployments, 'named', mesh.namespace);
    await mesh.client.replace(resources.deployments, { ...deployment, spec: { ...deployment.spec, replicas: 4 } });
    const counts: Record<string, number> = JSON.parse((await running.ended).split('\n').at(-1)!);
    const [joined] = Object.keys(counts).filter((name) => !known.includes(name));
    expect(counts[joined!]).toBeGreaterThan(0);
    // Its share would be 75 of 300.
    expect(counts[joined!]).toBeLessThan(50);
  });
});
