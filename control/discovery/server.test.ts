import http2 from 'node:http2';
import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { ControlMessage, ProxyMessage } from '../../protocol/discovery.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import { version } from '../../protocol/version.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import type { Authority } from '../identity/authority.ts';
import { makeOwnCertificate } from '../identity/own-certificate.ts';
import { podPolicy } from '../policy/inbound.ts';
import { followPolicies } from '../policy/refresh.ts';
import {
  config,
  listen,
  log,
  makeAuthority,
  pod,
  proxyCertificate,
  putShop,
  service,
  slice,
  until,
} from '../test-parts.ts';
import { DiscoveryServer } from './server.ts';
import { Subscriptions } from './subscriptions.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function start(more: { pingEveryMs?: number; trustBundle?: () => string } = {}) {
  const kube = new FakeKube();
  putShop(kube);
  const authority = await makeAuthority(kube);
  const cluster = new Cluster(kube);
  const subscriptions = new Subscriptions(cluster, 'cluster.local');
  const reports: TelemetryReport[] = [];
  const trust = { pem: authority.trustBundle };
  const discovery = new DiscoveryServer({
    own: makeOwnCertificate(authority, config),
    trustDomain: 'cluster.local',
    replica: 'mesh-control-1',
    tracing: { endpoint: 'http://collector:4318', ratio: 0.1 },
    trustBundle: () => trust.pem,
    subscriptions,
    serviceAccountOf: (namespace, name) => cluster.pods.get(namespace, name)?.spec.serviceAccountName,
    policyFor: (namespace, name) => podPolicy(cluster, namespace, name),
    onTelemetry: (_proxy, report) => reports.push(report),
    log,
    ...more,
  });
  ends.push(followPolicies(cluster, (namespace, pod) => discovery.refreshPolicies(namespace, pod)));
  ends.push(() => discovery.drain());
  return { kube, authority, discovery, subscriptions, reports, trust, port: await listen(discovery.server) };
}

function connect(port: number, authority: Authority, trusted: Authority, account = 'web') {
  const session = http2.connect(`https://127.0.0.1:${port}`, {
    ...proxyCertificate(authority, account),
    ca: trusted.trustBundle,
    checkServerIdentity: () => undefined,
  });
  const stream = session.request({ ':method': 'POST', ':path': '/v1/proxy' }, { endStream: false });
  const got: ControlMessage[] = [];
  const state = { closed: false };
  let rest = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) got.push(JSON.parse(line) as ControlMessage);
  });
  const onEnd = () => {
    state.closed = true;
  };
  session.on('error', onEnd).on('close', onEnd);
  stream.on('error', onEnd).on('close', onEnd);
  ends.push(() => session.destroy());
  const write = (text: string) => stream.write(`${text}\n`);
  const send = (message: ProxyMessage) => write(JSON.stringify(message));
  const hello = (pod = 'web-a') => send({ type: 'hello', version: '0.1.0', pod, namespace: 'shop', workload: '' });
  const all = <T extends ControlMessage['type']>(type: T) =>
    got.filter((one): one is Extract<ControlMessage, { type: T }> => one.type === type);
  return { state, write, send, hello, all, stream };
}

const subscription = JSON.parse('{"type":"subscribe","address":"10.96.0.7:80"}') as ProxyMessage;

test('a subscription is answered, and a change pushed within a second', async () => {
  const { kube, authority, discovery, port } = await start();
  const proxy = connect(port, authority, authority);
  proxy.hello();
  proxy.send(subscription);
  await until(() => proxy.all('target').length === 1, 'the first state');
  expect(proxy.all('target')[0]!.target.endpoints).toHaveLength(2);
  expect(proxy.all('hello')).toEqual([{ type: 'hello', pod: 'mesh-control-1', version }]);
  expect(proxy.all('tracing')).toEqual([
    { type: 'tracing', tracing: { endpoint: 'http://collector:4318', ratio: 0.1 } },
  ]);
  expect(discovery.proxies).toMatchObject([{ pod: 'web-a', identity: { serviceAccount: 'web' } }]);
  const changed = Date.now();
  kube.put(resources.endpointSlices, slice([['10.244.0.2']]));
  await until(() => proxy.all('target').length === 2, 'the change');
  expect(Date.now() - changed).toBeLessThan(1000);
  expect(proxy.all('target')[1]!.target.endpoints).toHaveLength(1);
});

test('policy and trust bundle follow their changes', async () => {
  const { kube, authority, discovery, trust, port } = await start();
  const proxy = connect(port, authority, authority);
  proxy.hello();
  await until(() => proxy.all('policy').length === 1, 'the first policy');
  kube.put(resources.services, service('10.96.0.7', { appProtocol: 'grpc' }));
  await until(() => proxy.all('policy').length === 2, 'the new policy');
  const opaque = pod('web-a', '10.244.0.2');
  opaque.metadata.annotations['config.mesh.dev/opaque-ports'] = '8080';
  kube.put(resources.pods, opaque);
  await until(() => proxy.all('policy').length === 3, "the pod's own annotation");
  expect(proxy.all('policy').map((one) => one.policy.ports)).toEqual([{}, { 8080: 'http2' }, { 8080: 'opaque' }]);
  discovery.refreshTrust();
  trust.pem += (await makeAuthority()).trustBundle;
  discovery.refreshTrust();
  await until(() => proxy.all('trust-bundle').length > 1, 'the new roots');
  expect(proxy.all('trust-bundle').map((one) => one.pem)).toEqual([authority.trustBundle, trust.pem]);
});

test('a proxy that renewed its certificate is known by the new one, and its stream stays', async () => {
  const { authority, discovery, port } = await start();
  const proxy = connect(port, authority, authority);
  proxy.hello();
  proxy.send({ type: 'certificate', not_after: '2030-01-02T03:04:05.000Z' });
  const expires = () => discovery.proxies[0]?.certificateExpires.toISOString();
  await until(() => expires() === '2030-01-02T03:04:05.000Z', 'the new end');
  expect(proxy.state.closed).toBe(false);
  proxy.write('{"type":"certificate","not_after":"soon"}');
  await until(() => proxy.state.closed, 'the end of a stream that makes no sense');
});

test('telemetry is taken and acknowledged', async () => {
  const { authority, reports, port } = await start();
  const proxy = connect(port, authority, authority);
  proxy.hello();
  proxy.send({ type: 'telemetry', report: { sequence: 7, started: 1, interval: 5000, series: [] } });
  await until(() => proxy.all('telemetry-ack').length === 1, 'the acknowledgement');
  expect(proxy.all('telemetry-ack')[0]!.sequence).toBe(7);
  expect(reports).toHaveLength(1);
});

test('a proxy that answers no pings is given up, one that answers stays', async () => {
  const { authority, discovery, port } = await start({ pingEveryMs: 50 });
  const relays = new Set<net.Socket>();
  const relay = net.createServer((socket) => {
    const onward = net.connect(port, '127.0.0.1');
    for (const one of [socket, onward]) relays.add(one.on('error', () => one.destroy()));
    socket.pipe(onward).pipe(socket);
  });
  ends.push(
    () => relay.close(),
    () => {
      for (const one of relays) one.destroy();
    },
  );
  const [alive, dead] = [connect(port, authority, authority), connect(await listen(relay), authority, authority)];
  for (const proxy of [alive, dead]) proxy.hello();
  await until(() => discovery.proxies.length === 2, 'both proxies');
  // What a node that lost its power looks like: its socket is open and says nothing.
  for (const one of relays) one.unpipe().pause();
  await until(() => discovery.proxies.length === 1, 'the end of the silent one');
  expect(alive.state.closed).toBe(false);
});

test('what a proxy does not read does not gather: only the newest state waits for it, and there is an end', async () => {
  const { kube, authority, discovery, trust, port } = await start();
  const [slow, fast] = [connect(port, authority, authority), connect(port, authority, authority)];
  slow.hello();
  for (const proxy of [slow, fast]) proxy.send(subscription);
  await until(() => slow.all('target').length === 1 && fast.all('target').length === 1, 'the first state');
  slow.stream.pause();
  const memory = process.memoryUsage().rss;
  const many = (round: number) =>
    Array.from({ length: 2000 }, (_, index) => [`10.${round}.${index >> 8}.${index & 255}`] as [string]);
  for (let round = 0; round < 40; round++) {
    kube.put(resources.endpointSlices, slice(many(round)));
    await until(() => fast.all('target').length === round + 2, 'the change, at the one that reads');
  }
  expect(process.memoryUsage().rss - memory).toBeLessThan(200 << 20);
  expect(discovery.proxies).toHaveLength(1);
  slow.stream.resume();
  await until(
    () => slow.all('target').at(-1)?.target.endpoints[0]?.address.startsWith('10.39.') === true,
    'the newest',
  );
  expect(slow.all('target').length).toBeLessThan(40);

  slow.stream.pause();
  for (let round = 0; round < 60 && discovery.proxies.length > 0; round++) {
    trust.pem = String(round).repeat(200_000);
    discovery.refreshTrust();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => discovery.proxies.length === 0, 'the end of its stream');
});

test('a crowd that connects at once is all told everything, more than is written at a time', async () => {
  const { kube, authority, discovery, port } = await start();
  const endpoints = Array.from({ length: 500 }, (_, index) => [`10.1.${index >> 8}.${index & 255}`] as [string]);
  kube.put(resources.endpointSlices, slice(endpoints));
  const crowd = Array.from({ length: 100 }, () => connect(port, authority, authority));
  for (const proxy of crowd) {
    proxy.hello();
    proxy.send(subscription);
  }
  await until(() => crowd.every((proxy) => proxy.all('target').length === 1), 'the state, at every proxy');
  for (const proxy of crowd) expect(proxy.all('target')[0]!.target.endpoints).toHaveLength(500);
  expect(discovery.proxies).toHaveLength(100);
  kube.put(resources.endpointSlices, slice(endpoints.slice(1)));
  await until(() => crowd.every((proxy) => proxy.all('target').length === 2), 'the change, at every proxy');
});

test('a proxy that subscribes without end is ended, and nothing of it is kept', async () => {
  const { authority, discovery, subscriptions, port } = await start();
  const proxy = connect(port, authority, authority);
  proxy.hello();
  const lines = Array.from({ length: 20_001 }, (_, index) => {
    const address = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:80`;
    return JSON.stringify({ type: 'subscribe', address });
  });
  proxy.write(lines.join('\n'));
  await until(() => proxy.state.closed && discovery.proxies.length === 0, 'the end of the stream');
  expect(subscriptions.size).toBe(0);
});

test('a certificate of other roots is refused', async () => {
  const { authority, discovery, port } = await start();
  const proxy = connect(port, await makeAuthority(), authority);
  proxy.hello();
  await until(() => proxy.state.closed, 'the end of the connection');
  expect(proxy.all('trust-bundle')).toEqual([]);
  expect(discovery.proxies).toEqual([]);
});

test('a pod of another service account is refused', async () => {
  const { authority, discovery, port } = await start();
  const proxy = connect(port, authority, authority, 'cart');
  proxy.hello('web-a');
  await until(() => proxy.state.closed, 'the end of the stream');
  expect(discovery.proxies).toEqual([]);
});

test.each(['not json', 'null', '{"type":"subscribe","address":5}', '{"type":"telemetry"}'])(
  'the message %s ends the stream and nothing else',
  async (text) => {
    const { authority, port } = await start();
    const bad = connect(port, authority, authority);
    bad.hello();
    bad.write(text);
    await until(() => bad.state.closed, 'the end of the stream');
    const good = connect(port, authority, authority);
    good.send(subscription);
    await until(() => good.all('target').length === 1, 'the answer to another proxy');
  },
);
