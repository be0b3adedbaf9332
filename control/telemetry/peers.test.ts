import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ProxyInfo } from '../../protocol/api.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import { makeOwnCertificate } from '../identity/own-certificate.ts';
import { createLog } from '../log.ts';
import { config, makeAuthority, proxyCertificate, until } from '../test-parts.ts';
import { callPeer } from './peer-call.ts';
import { Peers, type Told } from './peers.ts';

const stop: (() => void)[] = [];
afterEach(() => {
  for (const one of stop.splice(0)) one();
});

const report: TelemetryReport = { sequence: 1, started: 1, interval: 1000, series: [] };
const told = (pod: string): Told => ({
  reporter: { namespace: 'shop', pod, workload: { namespace: 'shop', kind: 'deployment', name: 'web' } },
  report,
});

const proxy: ProxyInfo = {
  ...{
    namespace: 'shop',
    pod: 'web-a',
    workload: null,
    version: '1',
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
  },
  ...{ certificate_expires: '2026-06-02T12:00:00Z', connected_since: '2026-06-01T12:00:00Z' },
};

/** A replica that has heard `heard`; the others it tells are those given. */
async function replica(authority: Awaited<ReturnType<typeof makeAuthority>>, others: string[], port = 0) {
  const clock = { ahead: 0 };
  const heard: string[] = [];
  const said: string[] = [];
  const peers = new Peers({
    own: makeOwnCertificate(authority, config),
    trustBundle: () => authority.trustBundle,
    identity: 'spiffe://cluster.local/ns/mesh-system/sa/mesh-control',
    serverName: 'mesh-control.mesh-system.svc',
    others: () => others.map((address) => ({ pod: `pod-at-${address}`, address })),
    proxies: () => [proxy],
    now: () => Date.now() + clock.ahead,
    port,
    onReport: ({ reporter }) => heard.push(reporter.pod),
    log: createLog('warn', (line) => said.push(line)),
    flushMs: 20,
  });
  peers.server.listen(0, '127.0.0.1');
  await once(peers.server, 'listening');
  stop.push(() => {
    peers.stop();
    peers.server.closeAllConnections();
  });
  return { peers, heard, said, clock, port: (peers.server.address() as AddressInfo).port };
}

describe('replicas', () => {
  it('tell each other what their proxies report, once', async () => {
    const authority = await makeAuthority();
    const listener = await replica(authority, []);
    const { peers } = await replica(authority, ['127.0.0.1'], listener.port);
    peers.tell(told('web-a'));
    peers.tell(told('web-b'));
    await until(() => listener.heard.length === 2, 'both reports');
    expect(listener.heard).toEqual(['web-a', 'web-b']);
  });

  it('tell what a replica missed when it is back', async () => {
    const authority = await makeAuthority();
    const first = await replica(authority, []);
    first.peers.server.close();
    const { peers, said } = await replica(authority, ['127.0.0.1'], first.port);
    peers.tell(told('web-a'));
    await until(() => said.some((line) => line.includes('ECONNREFUSED')), 'a first try that failed');
    const second = await replica(authority, []);
    second.peers.server.close();
    await once(second.peers.server, 'close');
    second.peers.server.listen(first.port, '127.0.0.1');
    await until(() => second.heard.length === 1, 'the report that was kept');
  });

  it('tell no more at once than another takes: the newest', async () => {
    const authority = await makeAuthority();
    const listener = await replica(authority, []);
    const { peers } = await replica(authority, ['127.0.0.1'], listener.port);
    const large = { namespace: 'shop', kind: 'deployment', name: 'x'.repeat(1 << 20) };
    for (let i = 0; i < 40; i++)
      peers.tell({ reporter: { namespace: 'shop', pod: `web-${i}`, workload: large }, report });
    await until(() => listener.heard.includes('web-39'), 'the newest report');
    expect(listener.heard.length).toBeLessThan(17);
  });

  it('say that one of them tells too much at once', async () => {
    const authority = await makeAuthority();
    const { said, heard, port } = await replica(authority, []);
    const agent = new https.Agent();
    stop.push(() => agent.destroy());
    const call = callPeer({
      ...{ agent, port, address: '127.0.0.1', path: '/v1/reports', body: ' '.repeat(33 << 20) },
      ...{ own: makeOwnCertificate(authority, config), trustBundle: authority.trustBundle },
      serverName: 'mesh-control.mesh-system.svc',
    });
    await expect(call).rejects.toThrow();
    expect(said.join()).toContain('too many at once');
    expect(heard).toEqual([]);
  });

  it('tell which proxies are connected to them', async () => {
    const authority = await makeAuthority();
    const { port } = await replica(authority, []);
    const { peers } = await replica(authority, ['127.0.0.1'], port);
    expect(await peers.proxies()).toEqual({ proxies: [proxy], unreachable: [] });
  });

  it('know which of them does not answer, though there is nothing to tell, and when it is back', async () => {
    const authority = await makeAuthority();
    const { peers: other, port } = await replica(authority, []);
    const { peers, said, clock } = await replica(authority, ['127.0.0.1'], port);
    other.server.close();
    other.server.closeAllConnections();
    await until(() => {
      clock.ahead += 10_000;
      return said.some((line) => line.includes('ECONNREFUSED'));
    }, 'a call that failed');
    const away = [{ pod: 'pod-at-127.0.0.1', reason: expect.stringContaining('ECONNREFUSED') }];
    clock.ahead += 5_000;
    expect(peers.unreachable()).toEqual(away);
    expect(await peers.proxies()).toEqual({ proxies: [], unreachable: away });
    other.server.listen(port, '127.0.0.1');
    await until(() => peers.unreachable().length === 0, 'an answer');
  });

  it('go on after their certificates were renewed', async () => {
    const authority = await makeAuthority();
    const listener = await replica(authority, []);
    const { peers } = await replica(authority, ['127.0.0.1'], listener.port);
    peers.tell(told('web-a'));
    await until(() => listener.heard.length === 1, 'the first report');
    for (const one of [peers, listener.peers]) one.renew(makeOwnCertificate(authority, config));
    peers.tell(told('web-b'));
    await until(() => listener.heard.length === 2, 'the second report');
  });

  it.each([
    ['a proxy of the mesh', 'POST', '/v1/reports'],
    ['a proxy of the mesh', 'GET', '/v1/proxies'],
    ['a certificate of another mesh', 'POST', '/v1/reports'],
  ])('hear nothing from %s: %s %s', async (who, method, path) => {
    const authority = await makeAuthority();
    const { heard, port } = await replica(authority, []);
    const other = who.startsWith('a proxy') ? authority : await makeAuthority();
    const { key, cert } = proxyCertificate(other, 'web');
    const request = https.request({
      host: '127.0.0.1',
      port,
      method,
      path,
      key,
      cert,
      ca: authority.trustBundle,
      servername: 'mesh-control.mesh-system.svc',
    });
    const outcome = new Promise((resolve) => {
      request.on('response', (response) => resolve(response.statusCode));
      request.on('error', () => resolve('refused'));
    });
    request.end(JSON.stringify([told('web-a')]));
    expect(await outcome).toBe(who.startsWith('a proxy') ? 403 : 'refused');
    expect(heard).toEqual([]);
  });
});
