/** For tests: two proxies in one process on loopback, application → outbound → HBONE → inbound → application. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import http2, { type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import type net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Address,
  type ControlMessage,
  type Endpoint,
  formatAddress,
  type ProxyMessage,
  type Target,
} from '../protocol/discovery.ts';
import { formatSpiffeId } from '../protocol/identity.ts';
import type { TelemetryReport } from '../protocol/telemetry.ts';
import type { TrafficPolicy } from '../protocol/traffic-policy.ts';
import { makeCertificate } from '../protocol/x509.ts';
import { parseConfig } from './config.ts';
import { createLogger } from './log.ts';
import { PodProxy } from './pod-proxy.ts';
import { until } from './test-peer.ts';
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
export const idOf = (serviceAccount: string, namespace = 'shop') =>
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
export const streams = new Set<ServerHttp2Stream>();
export const reports: TelemetryReport[] = [];
let control: Http2SecureServer;
let controlPort = 0;
/** The two proxies, and what the next connection through one of them is meant for. */
export const mesh = {} as { client: PodProxy; server: PodProxy; destination: Address };

export async function startControl(): Promise<void> {
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

export function stopControl(): void {
  for (const stream of streams) stream.session?.destroy();
  control.close();
}

function makeProxy(
  serviceAccount: string,
  podIps: string,
  peerHbonePort?: number,
  settings: Record<string, string> = {},
): PodProxy {
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
    ...settings,
  });
  if ('problems' in parsed) throw new Error(parsed.problems.join('; '));
  return new PodProxy({
    config: parsed.config,
    credentials: certify(idOf(serviceAccount)),
    log: createLogger('warn'),
    traceProgram: new URL('./tracing/export-thread.ts', import.meta.url),
    accessLogFd: openSync(logOf(serviceAccount), 'w'),
    originalDestination: () => mesh.destination,
    ...(peerHbonePort ? { peerHbonePort } : {}),
  });
}

export const ips = ['127.0.1.1', '127.0.1.2', '127.0.1.3'];

export function publish(address: Address, endpoints: Endpoint[], policy?: TrafficPolicy): void {
  const target: Target = {
    address,
    kind: 'service',
    version: 1,
    protocol: 'detect',
    service: { namespace: 'shop', name: 'web', port: 80 },
    endpoints,
    ...(policy ? { policy } : {}),
  };
  targets.set(address, target);
}

export const meshed = (ip: string, port: number): Endpoint => ({
  address: formatAddress(ip, port),
  pod: `web-${ip}`,
  identity: idOf('web'),
  workload: { namespace: 'shop', kind: 'deployment', name: 'web' },
});

/** The same port on every address. */
export async function startApps(handler: (ip: string) => net.Server): Promise<{ port: number; servers: net.Server[] }> {
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

/** An endpoint without a proxy. */
export const unmeshed = (ip: string, port: number): Endpoint => ({ address: formatAddress(ip, port) });

/** While the proxies run. */
let logs = '';
const logOf = (serviceAccount: string) => join(logs, serviceAccount);

/** The access log of the client's proxy (`cart`) or the server's (`web`), line by line. */
export const accessLog = (serviceAccount: 'cart' | 'web'): string[] =>
  readFileSync(logOf(serviceAccount), 'utf8').split('\n').slice(0, -1);

/** Says something as the control plane, to both proxies. */
export function tell(message: ControlMessage): void {
  for (const stream of streams) stream.write(`${JSON.stringify(message)}\n`);
}

/** `settings`: of the server's proxy. */
export async function startMesh(settings: Record<string, string> = {}): Promise<void> {
  logs = mkdtempSync(join(tmpdir(), 'mesh-access-log-'));
  await startControl();
  mesh.server = makeProxy('web', ips.join(','), undefined, settings);
  await mesh.server.start();
  mesh.client = makeProxy('cart', '127.0.2.1', mesh.server.ports.hbone);
  await mesh.client.start();
  await until(() => streams.size === 2, 'both proxies know the control plane');
}

export function stopMesh(): void {
  mesh.client.close();
  mesh.server.close();
  stopControl();
  rmSync(logs, { recursive: true, force: true });
}
