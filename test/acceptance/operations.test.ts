/** What proxies in pods of a real mesh tell of themselves and of their traffic. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ProxyState } from '../../protocol/diagnostics.ts';
import { type SeenSpan, spansOf } from '../../proxy/test-collector.ts';
import { onCluster, unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { nodeCommand, type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';

/** Answers with the headers it was asked with. */
const echo = nodeCommand(`
import { createServer } from 'node:http';
createServer((request, response) => response.end(JSON.stringify(request.headers))).listen(8000);`);
/** Writes what it is sent, one request a line. */
const collector = nodeCommand(`
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
createServer(async (request, response) => {
  console.log(await text(request));
  response.setHeader('content-type', 'application/json').end('{}');
}).listen(4318);`);

describe.skipIf(unable)('operations', () => {
  let mesh: TestMesh;
  const pods: Record<string, PodObject> = {};

  beforeAll(async () => {
    mesh = await installMesh('operations');
    const logged = workload('web', echo, { port: 8000, settings: { 'access-log': 'json' } });
    await mesh.apply([logged, workload('client', ['sleep', 'infinity'])].join('\n---\n'), true);
    await mesh.apply(workload('collector', collector, { port: 4318 }), false);
    for (const app of ['web', 'client', 'collector']) [pods[app]] = (await mesh.ready(app)) as [PodObject];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const get = async (path: string): Promise<Record<string, string>> =>
    JSON.parse(await mesh.exec(pods.client!, 'curl', '-s', '-m', '5', `http://web:8000${path}`));
  const diagnostics = (...args: string[]) => mesh.mesh(['diagnostics', ...args, '-n', mesh.namespace]);
  const state = async (target: string) => JSON.parse(await diagnostics('proxy', target, '-o', 'json')) as ProxyState;

  test('diagnostics of either proxy name the other', async () => {
    await get('/');
    const client = await state('deploy/client');
    expect(client).toMatchObject({
      ...{ namespace: mesh.namespace, workload: 'deployment/client', not_ready: null },
      control_plane: { connected: true, replica: expect.stringContaining('mesh-control-') },
      certificate: { identity: expect.stringContaining(`/ns/${mesh.namespace}/sa/`) },
      trust_roots: expect.arrayContaining([expect.objectContaining({ sha256: expect.any(String) })]),
    });
    expect(client.targets.find((one) => one.service === `${mesh.namespace}/web`)).toMatchObject({
      ...{ kind: 'service', detected: 'http' },
      endpoints: [{ pod: pods.web!.metadata.name, identity: client.certificate!.identity, failures: 0 }],
    });
    const server = await state(pods.web!.metadata.name!);
    expect(server.inbound_ports).toContainEqual(expect.objectContaining({ port: 8000, protocol: 'http1' }));
    expect(server.tunnels.inbound.connections).toBeGreaterThan(0);
    expect(await diagnostics('proxy', 'deploy/client')).toContain(pods.web!.metadata.name);
  });

  test('the state of a proxy is not told to the network', async () => {
    const url = `http://${pods.web!.status.podIP}:4191/state.json`;
    const said = await mesh.exec(pods.collector!, 'curl', '-s', '-m', '5', '-w', ' %{http_code}', url);
    expect(said).toMatch(/mesh diagnostics\s+403$/);
  });

  test('the log level is changed without a restart', async () => {
    await diagnostics('log-level', 'deploy/web', 'debug', '--for', '1m');
    expect((await state('deploy/web')).log_level).toMatchObject({ value: 'debug', until: expect.any(String) });
  });

  test('the access log is on by annotation, and by command for a time', async () => {
    await diagnostics('access-log', 'deploy/client', 'json', '--for', '5m');
    const heard = await get('/logged?token=secret');
    const entries = await until('a line of either proxy', async () => {
      const logs = await Promise.all([pods.client!, pods.web!].map((pod) => mesh.log(pod, 'mesh-proxy')));
      expect(logs.join()).not.toContain('secret');
      const found = logs.map((log) => log.split('\n').find((line) => line.includes('"/logged"')));
      return found.every((line) => line !== undefined) && found.map((line) => JSON.parse(line!));
    });
    const common = { path: '/logged', status: 200, protocol: 'http1', request_id: heard['x-request-id'] };
    expect(entries).toMatchObject([
      { ...common, direction: 'outbound', service: `${mesh.namespace}/web`, attempts: 1 },
      { ...common, direction: 'inbound', client: `${mesh.namespace}/deployment/client` },
    ]);
    await diagnostics('access-log', 'deploy/client', 'off');
  });

  // An install with other options would change the mesh of every other test of a cluster.
  test.skipIf(onCluster)('a collector named by install is sent the spans of proxies that run', async () => {
    const endpoint = `http://collector.${mesh.namespace}.svc.cluster.local:4318`;
    await mesh.mesh(['install', '--otlp-endpoint', endpoint, '--trace-ratio', '1']);
    await until('the span of the server within that of the client', async () => {
      // Either proxy hears of it in its own time.
      await get('/traced');
      const lines = (await mesh.log(pods.collector!, 'main')).split('\n').filter((line) => line.startsWith('{'));
      const spans = lines.flatMap((line) => spansOf(JSON.parse(line)));
      const of = (name: string) => (span: SeenSpan) => span.resource['service.name'] === name;
      return spans.filter(of('web')).some((server) => {
        const client = spans.filter(of('client')).find(({ spanId }) => spanId === server.parentSpanId);
        return client?.traceId === server.traceId && server.attributes['url.path'] === '/traced';
      });
    });
    await mesh.mesh(['install']);
    await until('no trace any more', async () => (await get('/untraced')).traceparent === undefined);
  });
});
