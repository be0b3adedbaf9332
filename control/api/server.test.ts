import { expect, onTestFinished, test } from 'vitest';
import type { Json } from '../../kube/types.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { makeOwnCertificate } from '../identity/own-certificate.ts';
import { Collector } from '../telemetry/collector.ts';
import { config, listen, makeAuthority, putShop, seriesOf } from '../test-parts.ts';
import { createApiServer, proxyInfos } from './server.ts';

async function start() {
  const kube = new FakeKube();
  putShop(kube);
  const authority = await makeAuthority(kube);
  const own = makeOwnCertificate(authority, config);
  const collector = new Collector();
  const cluster = new Cluster(kube);
  const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
  const now = new Date();
  const proxy = { identity, pod: 'web-a', version: '1', certificateExpires: now, connectedSince: now };
  const server = createApiServer({
    ...{ cluster, collector, authority, trustDomain: 'cluster.local', started: now },
    webhook: () => own,
    proxies: () => [proxy],
    peers: {
      unreachable: () => [{ pod: 'mesh-control-2', reason: 'no answer' }],
      proxies: async () => ({
        proxies: [{ ...proxyInfos(cluster, [proxy])[0]!, pod: 'web-of-another' }],
        unreachable: [{ pod: 'mesh-control-2', reason: 'no answer' }],
      }),
    },
    troubles: () => ['pods cannot be followed: forbidden'],
  });
  const base = `http://127.0.0.1:${await listen(server)}`;
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(base + path, { method });
    return { status: response.status, body: (await response.json()) as Json };
  };
  return { get, collector, authority };
}

test('stat answers with a row for each workload, and the traffic reported for it', async () => {
  const { get, collector } = await start();
  const workload = { namespace: 'shop', kind: 'deployment', name: 'web' };
  const peer = { namespace: 'shop', kind: 'deployment', name: 'load' };
  const series = [seriesOf({ peer, requests: 10, failures: 1, latency: [100, 10], open: 2 })];
  const report = { sequence: 1, started: 1, interval: 10_000, series };
  collector.add({ namespace: 'shop', pod: 'web-a', workload }, report);
  const { status, body } = await get('/v1/stat?kind=deployment&namespace=shop');
  expect(status).toBe(200);
  expect(body.rows).toEqual([
    expect.objectContaining({
      ...{ name: 'web', pods: { meshed: 1, total: 2 }, success: 0.9, requests_per_second: 1 },
      ...{ tcp_connections: 2, secured: 1 },
    }),
  ]);
  expect((await get('/v1/stat?kind=all&namespace=shop')).body.rows.map((one: { kind: string }) => one.kind)).toEqual([
    'deployment',
    'service',
  ]);
});

test('status tells of certificates and of pods without a proxy', async () => {
  const { get, authority } = await start();
  const { body } = await get('/v1/status');
  expect(body).toMatchObject({
    root: [{ subject: 'CN=mesh root', sha256: authority.roots[0]!.fingerprint256 }],
    issuer: { issued_by_root: true },
    proxies: 1,
    unmeshed: [{ namespace: 'shop', pod: 'web-b', workload: { kind: 'deployment', name: 'web' }, restart_helps: true }],
    troubles: ['pods cannot be followed: forbidden', 'replica mesh-control-2 does not answer: no answer'],
  });
  expect(Date.parse(body.webhook.not_after)).toBeGreaterThan(Date.now());
});

test('any replica tells of the proxies of all, and of replicas whose proxies are missing', async () => {
  const { get } = await start();
  const unreachable_replicas = [{ pod: 'mesh-control-2', reason: 'no answer' }];
  expect((await get('/v1/proxies')).body).toMatchObject({
    proxies: [
      { pod: 'web-a', workload: { name: 'web' }, identity: 'spiffe://cluster.local/ns/shop/sa/web' },
      { pod: 'web-of-another' },
    ],
    unreachable_replicas,
  });
  expect((await get('/v1/stat?kind=deployment')).body).toMatchObject({ unreachable_replicas });
});

test.each([
  ['/v1/stat', 400, 'bad-query', 'kind "" is none of deployment'],
  ['/v1/stat?kind=deploy', 400, 'bad-query', 'kind "deploy" is none of'],
  ['/v1/stat?kind=pod&window=5', 400, 'bad-query', 'window "5" is not between 10 and 3600'],
  ['/v1/stat?kind=pod&window=NaN', 400, 'bad-query', 'window "NaN"'],
  ['/v1/stat?kind=pod&to=web', 400, 'bad-query', 'to "web" is not kind/name'],
  ['/v2/stat', 404, 'not-found', 'there is no /v2/stat'],
])('%s is answered %d %s', async (path, code, name, message) => {
  const { get } = await start();
  const { status, body } = await get(path);
  expect([status, body.code]).toEqual([code, name]);
  expect(body.message).toContain(message);
});

test('the API is only read', async () => {
  const { get } = await start();
  expect(await get('/v1/status', 'POST')).toMatchObject({ status: 405, body: { code: 'method-not-allowed' } });
});
