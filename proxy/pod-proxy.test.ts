/** Two proxies in one process on loopback: application → outbound → HBONE → inbound → application. */
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import http2, { type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type Address, type Endpoint, formatAddress, type ProxyMessage, type Target } from '../protocol/discovery.ts';
import { formatSpiffeId } from '../protocol/identity.ts';
import type { TelemetryReport } from '../protocol/telemetry.ts';
import { makeCertificate } from '../protocol/x509.ts';
import { parseConfig } from './config.ts';
import { createLogger } from './log.ts';
import { PodProxy } from './pod-proxy.ts';
import { Credentials } from './tls/credentials.ts';

const makeKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const rootKey = makeKey();
const root = { subject: 'root', ...rootKey };
const notBefore = new Date(Date.now() - 60_000);
const notAfter = new Date(Date.now() + 3_600_000);
const rootPem = makeCertificate({
  subject: 'root',
  publicKey: rootKey.publicKey,
  issuer: root,
  notBefore,
  notAfter,
  authority: { pathLength: 0 },
});
const idOf = (serviceAccount: string, namespace = 'shop') =>
  formatSpiffeId({ trustDomain: 'cluster.local', namespace, serviceAccount });

function certify(id: string): Credentials {
  const key = makeKey();
  const chain = makeCertificate({
    subject: '',
    publicKey: key.publicKey,
    issuer: root,
    notBefore,
    notAfter,
    names: { uris: [id] },
  });
  const credentials = new Credentials(rootPem);
  credentials.setCertified({ key: key.privateKey, chain, notBefore, notAfter });
  return credentials;
}

const targets = new Map<Address, Target>();
const streams = new Set<ServerHttp2Stream>();
const reports: TelemetryReport[] = [];
let control: Http2SecureServer;
let controlPort = 0;
let client: PodProxy;
let server: PodProxy;
/** What the next connection through the client's proxy was meant for. */
let destination: Address;

async function startControl(): Promise<void> {
  const { pem } = certify(idOf('mesh-control', 'mesh-system'));
  control = http2.createSecureServer({ ...pem, requestCert: true });
  control.on('stream', (stream: ServerHttp2Stream) => {
    streams.add(stream);
    stream.on('error', () => {}); // ended by the test
    stream.on('close', () => streams.delete(stream));
    stream.respond({ ':status': 200 });
    let rest = '';
    stream.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const message = JSON.parse(line) as ProxyMessage;
        if (message.type === 'telemetry') {
          reports.push(message.report);
          stream.write(`${JSON.stringify({ type: 'telemetry-ack', sequence: message.report.sequence })}\n`);
        }
        const target = message.type === 'subscribe' && targets.get(message.address);
        if (target) stream.write(`${JSON.stringify({ type: 'target', target })}\n`);
      }
    });
  });
  await new Promise<void>((resolve) => control.listen(controlPort, '127.0.0.1', resolve));
  controlPort = (control.address() as net.AddressInfo).port;
}

function stopControl(): void {
  for (const stream of streams) stream.session?.destroy();
  control.close();
}

function makeProxy(serviceAccount: string, podIps: string, peerHbonePort?: number): PodProxy {
  const parsed = parseConfig({
    MESH_PROXY_POD_NAME: serviceAccount,
    MESH_PROXY_POD_NAMESPACE: 'shop',
    MESH_PROXY_POD_IPS: podIps,
    MESH_PROXY_SERVICE_ACCOUNT: serviceAccount,
    MESH_PROXY_WORKLOAD: `deployment/${serviceAccount}`,
    MESH_PROXY_CONTROL_HOST: '127.0.0.1',
    MESH_PROXY_IDENTITY_PORT: '1',
    MESH_PROXY_DISCOVERY_PORT: String(controlPort),
    MESH_PROXY_TOKEN_FILE: '/dev/null',
    MESH_PROXY_TELEMETRY_INTERVAL: '0.2',
    MESH_PROXY_OUTBOUND_PORT: '0',
    MESH_PROXY_INBOUND_PORT: '0',
    MESH_PROXY_HBONE_PORT: '0',
    MESH_PROXY_ADMIN_PORT: '0',
  });
  if ('problems' in parsed) throw new Error(parsed.problems.join('; '));
  return new PodProxy({
    config: parsed.config,
    credentials: certify(idOf(serviceAccount)),
    log: createLogger('warn'),
    originalDestination: () => destination,
    ...(peerHbonePort ? { peerHbonePort } : {}),
  });
}

const ips = ['127.0.1.1', '127.0.1.2', '127.0.1.3'];

function publish(address: Address, endpoints: Endpoint[]): void {
  const target: Target = {
    address,
    kind: 'service',
    version: 1,
    protocol: 'detect',
    service: { namespace: 'shop', name: 'web', port: 80 },
    endpoints,
  };
  targets.set(address, target);
}

const meshed = (ip: string, port: number): Endpoint => ({
  address: formatAddress(ip, port),
  pod: `web-${ip}`,
  identity: idOf('web'),
  workload: { namespace: 'shop', kind: 'deployment', name: 'web' },
});

/** The same port on every address. */
async function startApps(handler: (ip: string) => net.Server): Promise<{ port: number; servers: net.Server[] }> {
  const servers: net.Server[] = [];
  let port = 0;
  for (const ip of ips) {
    const one = handler(ip);
    await new Promise<void>((resolve, reject) => one.once('error', reject).listen(port, ip, resolve));
    port = (one.address() as net.AddressInfo).port;
    servers.push(one);
  }
  return { port, servers };
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
function get(path = '/', use = agent): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: client.ports.outbound, path, agent: use }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode!, body }));
        response.on('error', reject);
      })
      .on('error', reject);
  });
}

beforeAll(async () => {
  await startControl();
  server = makeProxy('web', ips.join(','));
  await server.start();
  client = makeProxy('cart', '127.0.2.1', server.ports.hbone);
  await client.start();
  await vi.waitFor(() => expect(streams.size).toBe(2), { timeout: 5000 });
});
beforeEach(() => agent.destroy());
afterAll(() => {
  agent.destroy();
  client.close();
  server.close();
  stopControl();
});

test('requests of one connection are spread over all endpoints, in mutual TLS, and counted at both ends', async () => {
  const { port, servers } = await startApps((ip) => http.createServer((_, response) => response.end(ip)));
  destination = formatAddress('10.96.0.1', 80);
  publish(
    destination,
    ips.map((ip) => meshed(ip, port)),
  );
  const one = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const seen = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const { status, body } = await get('/', one);
    expect(status).toBe(200);
    seen.add(body);
  }
  expect([...seen].sort()).toEqual(ips);
  one.destroy();
  await vi.waitFor(() => {
    const all = reports.flatMap((report) => report.series);
    const sum = (direction: string) =>
      all.filter((one) => one.direction === direction && one.tls === 'mtls').reduce((n, one) => n + one.requests, 0);
    expect([sum('outbound'), sum('inbound')]).toEqual([60, 60]);
    expect(all.find((one) => one.direction === 'inbound' && one.requests > 0)).toMatchObject({
      peer: { namespace: 'shop', kind: 'deployment', name: 'cart' },
      peerIdentity: idOf('cart'),
    });
  });
  for (const one of servers) one.close();
});

test('an endpoint killed under load costs no request', async () => {
  const apps: http.Server[] = [];
  const { port, servers } = await startApps((ip) => {
    const app = http.createServer((_, response) => void response.end(ip));
    apps.push(app);
    return app;
  });
  destination = formatAddress('10.96.0.2', 80);
  publish(
    destination,
    ips.map((ip) => meshed(ip, port)),
  );
  let done = 0;
  const statuses = new Map<number, number>();
  const worker = async () => {
    for (let i = 0; i < 100; i++) {
      const { status } = await get();
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (++done === 200) {
        apps[1]!.close();
        apps[1]!.closeAllConnections();
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  expect(statuses).toEqual(new Map([[200, 800]]));
  for (const one of servers) one.close();
});

test('a server that speaks first is heard in less than 200 ms, and a half-closed connection carries on', async () => {
  const { port, servers } = await startApps((ip) =>
    net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.write(`hello ${ip}\n`);
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('end', () => socket.end(`bye ${text}`));
    }),
  );
  destination = formatAddress('10.96.0.3', 5432);
  publish(destination, [meshed(ips[0]!, port)]);
  for (let i = 0; i < 2; i++) {
    const startedAt = performance.now();
    let firstAt = 0;
    const socket = net.connect({ port: client.ports.outbound, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.on('data', (chunk) => {
      firstAt ||= performance.now();
      if (text === '') socket.end('query');
      text += chunk;
    });
    await new Promise((resolve) => socket.on('end', resolve));
    socket.destroy();
    expect(text).toBe('hello 127.0.1.1\nbye query');
    expect(firstAt - startedAt).toBeLessThan(200);
  }
  for (const one of servers) one.close();
});

test('without the control plane, known targets go on and unknown ones are dialled as they are', async () => {
  const { port, servers } = await startApps((ip) => http.createServer((_, response) => response.end(ip)));
  destination = formatAddress('10.96.0.4', 80);
  publish(destination, [meshed(ips[2]!, port)]);
  expect(await get()).toEqual({ status: 200, body: ips[2] });
  stopControl();
  await vi.waitFor(() => expect(streams.size).toBe(0));
  agent.destroy();
  expect(await get()).toEqual({ status: 200, body: ips[2] });
  agent.destroy();
  const before = client.telemetry.discoveryFallbacks;
  destination = formatAddress(ips[0]!, port);
  await vi.waitFor(async () => expect(client.telemetry.discoveryFallbacks + (await get()).status).toBeGreaterThan(200));
  expect((await get()).body).toBe(ips[0]);
  expect(client.telemetry.discoveryFallbacks).toBeGreaterThan(before);
  publish(destination, [meshed(ips[1]!, port)]);
  await startControl();
  await vi.waitFor(
    async () => {
      agent.destroy();
      expect((await get()).body).toBe(ips[1]);
    },
    { timeout: 8000 },
  );
  for (const one of servers) one.close();
});

test('a service without endpoints is told so', async () => {
  destination = formatAddress('10.96.0.5', 80);
  publish(destination, []);
  const { status, body } = await get();
  expect(status).toBe(503);
  expect(body).toContain('no-endpoints');
});

test('a connection that carries nothing, as a health probe makes, does not count; one that is answered does', async () => {
  let answer = '';
  const { port, servers } = await startApps(() =>
    net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {}).on('end', () => socket.end(answer));
      socket.resume();
    }),
  );
  destination = formatAddress(ips[0]!, port);
  const opened = () =>
    [...server.telemetry.all].filter((one) => one.key.tls === 'plain').reduce((sum, one) => sum + one.opened, 0);
  const before = opened();
  const call = async (end: (socket: net.Socket) => void): Promise<string> => {
    const socket = net.connect({ port: server.ports.inbound, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('connect', () => end(socket)).on('error', () => {});
    await new Promise((resolve) => socket.on('close', resolve));
    return text;
  };
  await call((socket) => socket.resetAndDestroy());
  await call((socket) => socket.end());
  answer = 'late';
  expect(await call((socket) => socket.end())).toBe('late');
  await vi.waitFor(() => expect(opened()).toBe(before + 1));
  for (const one of servers) one.close();
});
