/** Kubernetes' probes of a pod, through its proxy: let through, and counted nowhere. */
import http from 'node:http';
import http2 from 'node:http2';
import type net from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress, type Probe } from '../protocol/discovery.ts';
import { ask, http2Server } from './test-http2.ts';
import { accessLog, mesh, reports, startMesh, stopMesh, tell } from './test-mesh.ts';
import { until } from './test-peer.ts';

beforeAll(() => startMesh());
afterAll(stopMesh);

const listen = (server: net.Server) =>
  new Promise<number>((resolve) =>
    server.listen(0, '127.0.1.1', () => resolve((server.address() as net.AddressInfo).port)),
  );

/** From a client without a proxy, on a connection of its own, as the kubelet does. */
function get(path: string, agent?: string): Promise<string> {
  const headers = agent === undefined ? {} : { 'user-agent': agent };
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: mesh.server.ports.inbound, path, headers, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve(`${response.statusCode} ${body}`));
      })
      .on('error', reject);
  });
}

async function policy(port: number, probes: Omit<Probe, 'port'>[]): Promise<void> {
  tell({ type: 'policy', policy: { ports: {}, probes: probes.map((one) => ({ port, ...one })) } });
  // What is said behind it tells that it has come.
  tell({ type: 'hello', pod: `told-${port}`, version: '1' });
  await until(() => mesh.server.state().control_plane.replica === `told-${port}`, 'the policy');
}

/** Requests and connections of clients without an identity. */
function counted(): number[] {
  const all = reports
    .flatMap(({ series }) => series)
    .filter((one) => one.direction === 'inbound' && one.tls === 'plain');
  return [all.reduce((sum, one) => sum + one.requests, 0), all.reduce((sum, one) => sum + one.opened, 0)];
}

test('HTTP probes are answered, not counted and not logged; whatever differs in one thing is traffic', async () => {
  const server = http.createServer((request, response) => response.end(request.url));
  const port = await listen(server);
  mesh.destination = formatAddress('127.0.1.1', port);
  await policy(port, [{ path: '/' }, { path: '/healthz?full=1' }, { path: '/own', agent: 'checker/1' }]);
  mesh.server.accessLog.set('json', 60_000);
  const before = counted();
  for (let i = 0; i < 10; i++) expect(await get('/', 'kube-probe/1.33')).toBe('200 /');
  expect(await get('/healthz?full=1', 'kube-probe/1.33')).toBe('200 /healthz?full=1');
  expect(await get('/own', 'checker/1')).toBe('200 /own');
  await get('/', 'curl/8.5.0');
  await get('/');
  await get('/healthz', 'kube-probe/1.33');
  await get('/own', 'kube-probe/1.33');
  await vi.waitFor(() => expect(counted().map((one, i) => one - before[i]!)).toEqual([4, 4]));
  await vi.waitFor(() => expect(accessLog('web')).toHaveLength(4));
  mesh.server.accessLog.set('off', 60_000);
  expect(mesh.server.inbound.gates.of(port).inFlight).toBe(0);
  server.close();
});

test('gRPC probes are answered and not counted', async () => {
  const { server } = http2Server((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' });
    stream.end();
  });
  const port = await listen(server);
  mesh.destination = formatAddress('127.0.1.1', port);
  const path = '/grpc.health.v1.Health/Check';
  await policy(port, [{ path }]);
  const before = counted();
  for (const agent of ['kube-probe/1.33', 'kube-probe/1.33', 'grpc-go/1.60']) {
    const session = http2.connect(`http://127.0.0.1:${mesh.server.ports.inbound}`);
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', 'user-agent': agent };
    expect((await ask(session, headers)).headers['grpc-status']).toBe('0');
    session.destroy();
  }
  await vi.waitFor(() => expect(counted().map((one, i) => one - before[i]!)).toEqual([1, 1]));
  server.close();
});
