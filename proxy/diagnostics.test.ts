import http from 'node:http';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import { idOf, ips, mesh, meshed, publish, startApps, startMesh, stopMesh, streams } from './test-mesh.ts';

const agent = new http.Agent({ keepAlive: true });
beforeAll(() => startMesh());
afterAll(() => {
  agent.destroy();
  stopMesh();
});

function get(): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: mesh.client.ports.outbound, agent }, (response) => resolve(text(response)))
      .on('error', reject);
  });
}

test('the state of a proxy names what it carries, to whom, and what failed', async () => {
  const { port, servers } = await startApps((ip) => http.createServer((_, response) => response.end(ip)));
  for (const stream of streams) stream.write('{"type":"hello","pod":"mesh-control-1","version":"9.9.9"}\n');
  mesh.destination = formatAddress('10.96.7.1', 80);
  publish(mesh.destination, [meshed(ips[0]!, port)]);
  await get();
  const service = { kind: 'service', service: 'shop/web', protocol: 'detect', endpoints_count: 1 };
  const client = mesh.client.state();
  expect(client).toMatchObject({
    ...{ pod: 'cart', namespace: 'shop', workload: 'deployment/cart', not_ready: null },
    log_level: { value: 'info', until: null },
    certificate: { identity: idOf('cart'), issuer: 'CN=root' },
    trust_roots: [{ subject: 'CN=root' }],
    control_plane: { connected: true, replica: 'mesh-control-1', version: '9.9.9' },
    tunnels: { outbound: [{ peer: ips[0], identity: idOf('web'), connections: 1, streams: 1 }], outbound_peers: 1 },
    targets_count: 1,
  });
  expect(client.targets).toMatchObject([
    {
      ...service,
      ...{ address: mesh.destination, detected: 'http', connections: 1 },
      endpoints: [{ pod: `web-${ips[0]}`, identity: idOf('web'), pending: 0, failures: 0, ejected_until: null }],
    },
  ]);
  const server = mesh.server.state();
  expect(server.tunnels.inbound).toEqual({ connections: 1, streams: 1 });
  expect(server.inbound_ports).toMatchObject([{ port, protocol: 'http1', declared: false }]);
  expect(server.errors).toEqual([]);
  for (const one of servers) one.close();
});

test('an application that is gone is told of by both proxies, a malformed request by the one that refused it', async () => {
  const { port, servers } = await startApps((ip) => http.createServer((_, response) => response.end(ip)));
  for (const one of servers) one.close();
  mesh.destination = formatAddress('10.96.7.2', 80);
  publish(mesh.destination, [meshed(ips[0]!, port)]);
  agent.destroy();
  await get();
  const destination = formatAddress(ips[0]!, port);
  expect(mesh.server.state().errors).toMatchObject([
    {
      direction: 'inbound',
      code: 'connect-failed',
      peer: destination,
      message: expect.stringContaining('ECONNREFUSED'),
    },
  ]);
  expect(mesh.client.state().errors).toMatchObject([
    { direction: 'outbound', code: 'connect-failed', peer: destination },
  ]);
  const socket = net.connect(mesh.client.ports.outbound, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\n\r\n'));
  socket.resume();
  await vi.waitFor(() => {
    expect(mesh.client.state().errors[0]).toMatchObject({ code: 'host-missing', peer: '10.96.7.2:80', count: 1 });
  });
  socket.destroy();
});
