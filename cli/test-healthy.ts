/** A mesh that is well, for tests of what commands show. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { resources } from '../kube/resources.ts';
import type { ControlStatus, StatRow } from '../protocol/api.ts';
import { meshedLabel, proxyVersionAnnotation, trustBundleConfigMap } from '../protocol/names.ts';
import { version } from '../protocol/version.ts';
import { makeCertificate } from '../protocol/x509.ts';
import type { CniOptions } from '../templates/index.ts';
import { pod, TestCluster } from './test-cluster.ts';
import { expectGolden, type RunOptions, runMesh, type Seen, transcript } from './test-screen.ts';

export const now = new Date('2026-06-01T12:00:00Z');
export const after = (days: number): string => new Date(now.getTime() + days * 86_400_000).toISOString();

/** A mesh that is well: control plane, trust bundles, an application with two proxies and one pod without. */
export async function healthy(cni?: CniOptions): Promise<TestCluster> {
  const made = await TestCluster.start();
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const issuer = { subject: 'root', ...key };
  const pem = makeCertificate({ subject: 'root', publicKey: key.publicKey, issuer, notBefore: now, notAfter: now });
  const proxied = { [meshedLabel]: 'enabled', app: 'web' };
  const annotations = { [proxyVersionAnnotation]: version };
  await made.create(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    pod('shop', 'web-1', proxied, true, annotations),
    pod('shop', 'web-2', proxied, true, annotations),
    pod('shop', 'batch-1'),
    deployment('web', proxied),
  );
  await made.install(cni);
  for (const { metadata } of made.objects.list(resources.namespaces)) {
    const where = { name: trustBundleConfigMap, namespace: metadata.name! };
    await made.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: where, data: { 'ca.crt': pem } });
  }
  const root = { subject: 'CN=root', not_before: after(-1), not_after: after(3650) };
  const status: ControlStatus = {
    ...{
      version,
      time: now.toISOString(),
      started: after(-1),
      trust_domain: 'cluster.local',
      proxies: 2,
      unmeshed: [],
    },
    root: [{ ...root, sha256: new X509Certificate(pem).fingerprint256 }],
    issuer: { not_before: after(-1), not_after: after(365), issued_by_root: true },
    webhook: { not_after: after(1) },
  };
  const proxies = ['web-1', 'web-2'].map((name) => ({
    ...{ namespace: 'shop', pod: name, workload: { namespace: 'shop', kind: 'deployment', name: 'web' }, version },
    ...{ identity: 'spiffe://cluster.local/ns/shop/sa/web', certificate_expires: after(1), connected_since: after(-1) },
  }));
  made.control.set('/v1/status', { status: 200, body: status });
  made.control.set('/v1/proxies', { status: 200, body: { proxies } });
  made.control.set('/v1/stat', { status: 200, body: { time: now.toISOString(), window_seconds: 60, rows } });
  return made;
}

function deployment(name: string, labels: Record<string, string>) {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'programs:here' }] } };
  const spec = { selector: { matchLabels: { app: name } }, template };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: 'shop' }, spec };
}

const quiet = {
  ...{ success: null, requests_per_second: null, p50_ms: null, p95_ms: null, p99_ms: null, tcp_connections: null },
  ...{ sent_bytes_per_second: null, received_bytes_per_second: null, secured: null, status: null },
};
const busy = {
  ...{ requests_per_second: 1234.5, p50_ms: 1.23, p95_ms: 45.6, p99_ms: 1789, tcp_connections: 12, status: null },
  ...{ sent_bytes_per_second: 1_234_567, received_bytes_per_second: 890, secured: 1 },
};
export const rows: StatRow[] = [
  { namespace: 'shop', kind: 'deployment', name: 'web', pods: { meshed: 2, total: 2 }, success: 1, ...busy },
  { namespace: 'shop', kind: 'deployment', name: 'payment', pods: { meshed: 1, total: 1 }, success: 0.8, ...busy },
  { namespace: 'shop', kind: 'deployment', name: 'batch', pods: { meshed: 0, total: 1 }, ...quiet },
];

/** Runs a command at the time `now` against a cluster, and compares what is seen with its golden file. */
export async function screenOf(
  on: TestCluster,
  name: string,
  args: string[],
  options: RunOptions = {},
  more: [RegExp, string][] = [],
): Promise<Seen> {
  const env = { HOME: on.home, KUBECONFIG: on.kubeconfig, LANG: 'C.UTF-8', ...options.env };
  const change: RunOptions['change'] = (context) => {
    context.now = () => now;
    options.change?.(context);
  };
  const seen = await runMesh(args, { ...options, env, change });
  expectGolden(name, transcript(args, seen, [...more, [on.home, 'HOME'], [version, 'VERSION']]));
  return seen;
}
