import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Address, Target } from '../../protocol/discovery.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { pod, putShop, service, slice, until } from '../test-parts.ts';
import { Subscriptions } from './subscriptions.ts';
import { findTarget, knownPorts } from './target.ts';

function shop() {
  const kube = new FakeKube();
  putShop(kube);
  const cluster = new Cluster(kube);
  const find = (address: string) => findTarget(cluster, address as Address, 'cluster.local').target;
  return { kube, cluster, find, ips: () => find('10.96.0.7:80').endpoints.map((one) => one.address) };
}

test('a service gives its endpoints; only the meshed one has an identity', () => {
  const target = shop().find('10.96.0.7:80');
  expect(target).toMatchObject({ kind: 'service', protocol: 'detect', service: { name: 'web', port: 80 } });
  expect(target.endpoints).toMatchObject([
    { address: '10.244.0.2:8080', pod: 'web-a', identity: 'spiffe://cluster.local/ns/shop/sa/web' },
    { address: '10.244.0.3:8080', pod: 'web-b', workload: { kind: 'deployment', name: 'web' } },
  ]);
  expect(target.endpoints[1]).not.toHaveProperty('identity');
});

test("a pod's own address is the pod; others are unknown", () => {
  const { find } = shop();
  expect(find('10.244.0.2:8080')).toMatchObject({ kind: 'pod', endpoints: [{ pod: 'web-a' }] });
  for (const address of ['10.96.0.7:81', '192.0.2.1:80'])
    expect(find(address)).toMatchObject({ kind: 'unknown', endpoints: [] });
});

test('endpoints that are not ready are left out, unless the service publishes them', () => {
  const { kube, ips } = shop();
  kube.put(resources.endpointSlices, slice([['10.244.0.2', { ready: false }], ['10.244.0.3']]));
  expect(ips()).toEqual(['10.244.0.3:8080']);
  const published = service('10.96.0.7');
  published.spec.publishNotReadyAddresses = true;
  kube.put(resources.services, published);
  expect(ips()).toEqual(['10.244.0.2:8080', '10.244.0.3:8080']);
});

test('where none is ready, endpoints that end and still serve are used', () => {
  const { kube, ips } = shop();
  const leaving = { ready: false, serving: true, terminating: true };
  const gone = { ready: false, serving: false, terminating: true };
  kube.put(
    resources.endpointSlices,
    slice([
      ['10.244.0.2', leaving],
      ['10.244.0.3', gone],
    ]),
  );
  expect(ips()).toEqual(['10.244.0.2:8080']);
  kube.put(resources.endpointSlices, slice([['10.244.0.2', leaving], ['10.244.0.3']]));
  expect(ips()).toEqual(['10.244.0.3:8080']);
});

test('an endpoint whose pod is deleted is used where there is no other: it would be dialled in plain text', () => {
  const { kube, ips } = shop();
  const both = slice([['10.244.0.2'], ['10.244.0.3']]);
  for (const [index, name] of ['web-a', 'web-b'].entries()) both.endpoints[index].targetRef = { kind: 'Pod', name };
  kube.put(resources.endpointSlices, both);
  expect(ips()).toEqual(['10.244.0.2:8080', '10.244.0.3:8080']);
  kube.remove(resources.pods, 'web-a', 'shop');
  expect(ips()).toEqual(['10.244.0.3:8080']);
  kube.remove(resources.pods, 'web-b', 'shop');
  expect(ips()).toEqual(['10.244.0.2:8080', '10.244.0.3:8080']);
  // Pods in the network of their node are known by name alone.
  const { spec, ...rest } = pod('web-a', '10.244.0.2', { meshed: false });
  kube.put(resources.pods, { ...rest, spec: { ...spec, hostNetwork: true } });
  expect(ips()).toEqual(['10.244.0.2:8080']);
});

test('pods are used on while their nodes, and not they themselves, are why most of a service is not ready', () => {
  const { kube, ips } = shop();
  const unready = { ready: false, serving: false, terminating: false };
  const condition = (type: string, holds: boolean) => ({ type, status: holds ? 'True' : 'False' });
  const put = (name: string, ip: string, containersReady: boolean, spec: object = {}, more: object[] = []) => {
    const one = pod(name, ip);
    const conditions = [condition('Ready', false), condition('ContainersReady', containersReady), ...more];
    kube.put(resources.pods, { ...one, spec: { ...one.spec, ...spec }, status: { ...one.status, conditions } });
  };
  kube.put(
    resources.endpointSlices,
    slice([
      ['10.244.0.2', unready],
      ['10.244.0.3', unready],
    ]),
  );
  put('web-a', '10.244.0.2', true);
  put('web-b', '10.244.0.3', true);
  expect(ips()).toEqual(['10.244.0.2:8080', '10.244.0.3:8080']);
  // One that its kubelet says is not ready.
  put('web-b', '10.244.0.3', false);
  expect(ips()).toEqual(['10.244.0.2:8080']);
  put('web-b', '10.244.0.3', true, { readinessGates: [{ conditionType: 'balanced' }] });
  expect(ips()).toEqual(['10.244.0.2:8080']);
  put('web-b', '10.244.0.3', true, { readinessGates: [{ conditionType: 'balanced' }] }, [condition('balanced', true)]);
  expect(ips()).toEqual(['10.244.0.2:8080', '10.244.0.3:8080']);
  // One node of two that is silent is believed to be gone.
  kube.put(resources.endpointSlices, slice([['10.244.0.2', unready], ['10.244.0.3']]));
  expect(ips()).toEqual(['10.244.0.3:8080']);
});

test('appProtocol and opaque-ports declare what a port speaks', () => {
  const { kube, find } = shop();
  const protocols = () => [find('10.96.0.7:80').protocol, find('10.244.0.2:8080').protocol];
  kube.put(resources.services, service('10.96.0.7', { appProtocol: 'grpc' }));
  expect(protocols()).toEqual(['http2', 'http2']);
  kube.put(resources.services, service('10.96.0.7', { appProtocol: 'mysql' }));
  expect(protocols()).toEqual(['opaque', 'opaque']);
  kube.put(resources.services, service('10.96.0.7', {}, { 'config.mesh.dev/opaque-ports': '79-81' }));
  expect(protocols()).toEqual(['opaque', 'opaque']);
  kube.put(resources.services, service('10.96.0.7'));
  expect(protocols()).toEqual(['detect', 'detect']);
  const opaque = pod('web-a', '10.244.0.2');
  opaque.metadata.annotations['config.mesh.dev/opaque-ports'] = '8080';
  kube.put(resources.pods, opaque);
  expect(protocols()).toEqual(['opaque', 'opaque']);
});

test('opaque ports that its namespace gave a pod are known from its proxy', () => {
  const { kube, find } = shop();
  const opaque = pod('web-a', '10.244.0.2');
  const env = [{ name: 'MESH_PROXY_OPAQUE_PORTS', value: '8080' }];
  kube.put(resources.pods, { ...opaque, spec: { ...opaque.spec, initContainers: [{ name: 'mesh-proxy', env }] } });
  expect([find('10.244.0.2:8080').protocol, find('10.96.0.7:80').protocol]).toEqual(['opaque', 'opaque']);
});

test('a headless service is dialled by the addresses of its pods', () => {
  const { kube, find } = shop();
  kube.put(resources.services, service('None', { appProtocol: 'http' }));
  expect(find('10.96.0.7:80').kind).toBe('unknown');
  expect(find('10.244.0.2:8080')).toMatchObject({ kind: 'pod', protocol: 'http1', endpoints: [{ pod: 'web-a' }] });
});

test('every address of a pod is the pod, and one it had before is not', () => {
  const { kube, find } = shop();
  const moved = pod('web-a', '10.244.0.9');
  const podIPs = [{ ip: '10.244.0.9' }, { ip: 'fd00::9' }];
  kube.put(resources.pods, { ...moved, status: { ...moved.status, podIPs } });
  const kinds = ['10.244.0.9:8080', '[fd00::9]:8080', '10.244.0.2:8080'].map((address) => find(address).kind);
  expect(kinds).toEqual(['pod', 'pod', 'unknown']);
});

test('an address that another pod has by now stays with that one when the first goes', () => {
  const { kube, find } = shop();
  kube.put(resources.pods, pod('web-c', '10.244.0.2'));
  kube.remove(resources.pods, 'web-a', 'shop');
  expect(find('10.244.0.2:8080').endpoints).toMatchObject([{ pod: 'web-c' }]);
});

test('a port that services lead to is known, although no container lists it', () => {
  const { kube, cluster } = shop();
  const bare = pod('web-a', '10.244.0.2');
  for (const container of bare.spec.containers) container.ports = [];
  kube.put(resources.pods, bare);
  kube.put(resources.services, service('10.96.0.7', { targetPort: 8081 }));
  expect(knownPorts(cluster, cluster.podAt('10.244.0.2')!)).toEqual([8081]);
});

test('subscribers hear of a change once, and of nothing else', async () => {
  const { kube, cluster } = shop();
  const subscriptions = new Subscriptions(cluster, 'cluster.local');
  const ofService: Target[] = [];
  const ofPod: Target[] = [];
  const read = (line: Buffer): Target => JSON.parse(line.toString()).target;
  const stop = subscriptions.subscribe('10.96.0.7:80' as Address, (line) => ofService.push(read(line)));
  subscriptions.subscribe('10.244.0.2:8080' as Address, (line) => ofPod.push(read(line)));
  kube.put(resources.endpointSlices, slice([['10.244.0.3'], ['10.244.0.2']]));
  kube.put(resources.services, service('10.96.0.7', { appProtocol: 'http' }));
  await until(() => ofService.length > 1 && ofPod.length > 1, 'the new protocol');
  expect([ofService[1]!.protocol, ofPod[1]!.protocol]).toEqual(['http1', 'http1']);
  expect(ofService[1]!.version).toBeGreaterThan(ofService[0]!.version);
  stop();
  kube.put(resources.endpointSlices, slice([['10.244.0.2']]));
  kube.put(resources.services, service('10.96.0.7'));
  await until(() => ofPod.length === 3, 'the protocol before');
  expect([ofService.length, subscriptions.size]).toEqual([2, 1]);
  subscriptions.stop();
});

test("a service's annotations come with it as a policy; what is malformed is left out", () => {
  const { kube, find } = shop();
  const changed = service('10.96.0.7');
  changed.metadata.annotations = {
    'config.mesh.dev/timeout-request': '2s',
    'config.mesh.dev/retry': 'sometimes',
    'config.mesh.dev/failure-accrual': 'consecutive',
  };
  kube.put(resources.services, changed);
  expect(find('10.96.0.7:80').policy).toEqual({ timeouts: { request: 2_000 }, failureAccrual: 'consecutive' });
});
