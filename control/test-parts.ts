/** Parts that several tests of the control plane need. */
import { generateKeyPairSync } from 'node:crypto';
import type { AddressInfo, Server } from 'node:net';
import { resources } from '../kube/resources.ts';
import type { Json, KubeObject } from '../kube/types.ts';
import { formatSpiffeId } from '../protocol/identity.ts';
import { tokenAudience } from '../protocol/names.ts';
import type { TelemetrySeries } from '../protocol/telemetry.ts';
import { readConfig } from './config.ts';
import { FakeKube } from './fake-kube.ts';
import { Authority } from './identity/authority.ts';
import { signLeaf } from './identity/sign.ts';
import { createLog } from './log.ts';
import { noCounts } from './telemetry/page.ts';

export const log = createLog('error', () => undefined);
export const config = readConfig({ MESH_CONTROL_NAMESPACE: 'mesh-system' });
export const day = 86_400_000;

export async function makeAuthority(kube = new FakeKube(), now = Date.now, issuerLifetimeMs = 365 * day) {
  return Authority.open({ kube, namespace: 'mesh-system', issuerLifetimeMs, certificateLifetimeMs: day, log, now });
}

export function addToken(kube: FakeKube, token: string, account: string, audience = tokenAudience): void {
  kube.tokens.set(token, { username: `system:serviceaccount:shop:${account}`, audiences: [audience] });
}

/** A key and certificate of a service account, as its proxy has them. */
export function proxyCertificate(authority: Authority, serviceAccount: string, namespace = 'shop') {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const uris = [formatSpiffeId({ trustDomain: 'cluster.local', namespace, serviceAccount })];
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { key, cert: signLeaf(authority, pair.publicKey, { uris }, day, Date.now()).chain };
}

export function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Resolves when the condition holds; fails after ten seconds, which a busy machine may need. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ten seconds: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function pod(name: string, ip: string, more: { meshed?: boolean; account?: string; ports?: Json[] } = {}) {
  const meshed = more.meshed ?? true;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-${name}`,
      labels: { app: 'web', ...(meshed ? { 'mesh.dev/proxy': 'enabled' } : {}) },
      annotations: { 'mesh.dev/workload': 'deployment/web' } as Record<string, string>,
    },
    spec: {
      serviceAccountName: more.account ?? 'web',
      containers: [{ name: 'web', ports: more.ports ?? [{ containerPort: 8080 }] }],
      initContainers: meshed ? [{ name: 'mesh-proxy' }] : [],
    },
    status: { phase: 'Running', podIP: ip },
  } satisfies KubeObject;
}

export function service(clusterIP: string, port: Json = {}, annotations: Record<string, string> = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop', annotations },
    spec: { clusterIP, selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080, ...port }] },
  };
}

export function slice(endpoints: [ip: string, conditions?: Json][]): KubeObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ port: 8080 }],
    endpoints: endpoints.map(([ip, conditions = { ready: true }]) => ({ addresses: [ip], conditions })),
  };
}

/** Two ready pods, the first meshed, behind service `web` at 10.96.0.7:80. */
export function putShop(kube: FakeKube): void {
  const metadata = { name: 'shop', annotations: { 'mesh.dev/inject': 'enabled' } };
  kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata });
  kube.put(resources.pods, pod('web-a', '10.244.0.2'));
  kube.put(resources.pods, pod('web-b', '10.244.0.3', { meshed: false }));
  kube.put(resources.services, service('10.96.0.7'));
  kube.put(resources.endpointSlices, slice([['10.244.0.2'], ['10.244.0.3']]));
}

/** What a proxy says of one peer, nothing having happened but what is given. */
export function seriesOf(more: Partial<TelemetrySeries> = {}): TelemetrySeries {
  return {
    direction: 'inbound',
    peer: null,
    service: null,
    authority: null,
    protocol: 'http',
    tls: 'mtls',
    peerIdentity: null,
    statuses: {},
    latency: [],
    open: 0,
    ...noCounts(),
    ...more,
  };
}
