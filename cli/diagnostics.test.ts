import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ProxyState } from '../protocol/diagnostics.ts';
import { version } from '../protocol/version.ts';
import type { TestCluster } from './test-cluster.ts';
import { after, healthy, now, screenOf } from './test-healthy.ts';
import type { RunOptions } from './test-screen.ts';

const web = { namespace: 'shop', kind: 'deployment', name: 'web' };
const identity = 'spiffe://cluster.local/ns/shop/sa/web';
const endpoint = {
  workload: web,
  identity,
  latency_ms: 1.234,
  pending: 1,
  failures: 0,
  ejected_until: null,
  resting: false,
};
const target = { kind: 'service', protocol: 'detect', connections: 2, endpoints_count: 2, policy: null } as const;
const state: ProxyState = {
  time: now.toISOString(),
  version,
  pod: 'web-1',
  namespace: 'shop',
  workload: 'deployment/web',
  started: after(-1),
  not_ready: null,
  log_level: { value: 'info', until: null },
  access_log: { value: 'off', until: null },
  access_log_dropped: 0,
  tracing: null,
  certificate: { identity, issuer: 'CN=mesh issuer', not_before: after(-0.5), not_after: after(0.5) },
  certificate_error: null,
  trust_roots: [{ subject: 'CN=mesh root', not_after: after(3650), sha256: 'AB:CD:EF:01:23:45' }],
  control_plane: { connected: true, since: after(-0.25), replica: 'mesh-control-1', version, error: null },
  connections: { outbound: 2, inbound: 4 },
  tunnels: {
    outbound: [{ peer: '10.1.0.5', identity, connections: 1, streams: 2 }],
    outbound_peers: 1,
    inbound: { connections: 1, streams: 4 },
  },
  targets: [
    {
      ...target,
      address: '10.96.0.20:80',
      service: 'shop/cart',
      detected: 'http',
      policy: {
        timeouts: { request: 2_000, response: 500 },
        retry: { statuses: [[502, 504]], grpc: [14], limit: 1 },
        failureAccrual: 'consecutive',
      },
      endpoints: [
        { ...endpoint, address: '10.1.0.5:80', pod: 'cart-1' },
        { ...endpoint, address: '10.1.0.6:80', pod: 'cart-2', failures: 5, ejected_until: after(1 / 86_400) },
      ],
    },
    {
      ...target,
      ...{ address: '203.0.113.7:5432', kind: 'unknown', service: null, detected: 'server-first' },
      endpoints: [{ ...endpoint, address: '203.0.113.7:5432', pod: null, workload: null, identity: null }],
      endpoints_count: 1,
    },
  ],
  targets_count: 2,
  inbound_ports: [{ port: 80, protocol: 'http1', declared: false, seen: after(-1 / 86_400), in_flight: 3, limit: 20 }],
  errors: [
    {
      ...{ time: after(-1 / 1440), direction: 'outbound', code: 'connect-failed', peer: '10.1.0.6:80', count: 5 },
      message: '10.1.0.6:80: connect ECONNREFUSED 10.1.0.6:80',
    },
  ],
  memory: { rss_bytes: 61_000_000, heap_used_bytes: 12_000_000, external_bytes: 3_000_000 },
};
const away: ProxyState = {
  ...state,
  not_ready: 'no certificate yet',
  log_level: { value: 'debug', until: after(1 / 144) },
  access_log: { value: 'json', until: null },
  access_log_dropped: 7,
  tracing: { endpoint: 'http://collector.observability:4318', ratio: 0.01, spans_sent: 1, spans_dropped: 512 },
  certificate: null,
  certificate_error: 'token-refused: the token is of another audience',
  control_plane: { connected: false, since: null, replica: null, version: null, error: 'mesh-control did not answer' },
  connections: { outbound: 0, inbound: 0 },
  tunnels: { outbound: [], outbound_peers: 0, inbound: { connections: 0, streams: 0 } },
  targets: [],
  targets_count: 0,
  inbound_ports: [],
  errors: [],
};

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await healthy();
});
afterAll(() => cluster.close());

const tell = (body: unknown) => cluster.control.set('/state.json', { status: 200, body });

it.each<[string, string[], ProxyState, RunOptions]>([
  ['pod', ['web-1'], state, {}],
  ['terminal', ['web-1'], state, { terminal: true }],
  ['workload', ['deploy/web'], state, {}],
  ['json', ['web-1', '-o', 'json'], state, {}],
  ['away', ['web-1'], away, {}],
  ['unmeshed', ['batch-1'], state, {}],
  ['no-pod', ['wep-1'], state, {}],
])('proxy: %s', async (name, args, body, options) => {
  tell(body);
  await screenOf(cluster, `diagnostics/proxy-${name}`, ['diagnostics', 'proxy', '-n', 'shop', ...args], options);
});

it('the log level of every proxy of a workload is changed', async () => {
  cluster.control.set('/log-level', { status: 200, body: 'debug' });
  const args = ['diagnostics', 'log-level', 'deploy/web', 'debug', '--for', '1h', '-n', 'shop'];
  await screenOf(cluster, 'diagnostics/log-level', args);
  expect(cluster.changes).toEqual(Array(2).fill('/log-level?value=debug&seconds=3600'));
});

it('a proxy that does not answer keeps no other from being asked', async () => {
  cluster.control.set('/log-level', { status: 200, body: 'debug' });
  cluster.changes.length = 0;
  cluster.away.add('web-1');
  const args = ['diagnostics', 'log-level', 'deploy/web', 'debug', '-n', 'shop'];
  await screenOf(cluster, 'diagnostics/log-level-away', args).finally(() => cluster.away.clear());
  expect(cluster.changes).toEqual(['/log-level?value=debug&seconds=600']);
});

it.each([
  ['log-level-unknown', ['web-1', 'debgu']],
  ['log-level-too-long', ['web-1', 'debug', '--for', '48h']],
  ['log-level-unmeshed', ['batch-1', 'debug']],
])('%s', async (name, args) => {
  await screenOf(cluster, `diagnostics/${name}`, ['diagnostics', 'log-level', '-n', 'shop', ...args]);
});
