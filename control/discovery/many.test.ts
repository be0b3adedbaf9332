import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { type Address, formatAddress, type Target } from '../../protocol/discovery.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { pod, service, slice, until } from '../test-parts.ts';
import { type Line, Subscriptions } from './subscriptions.ts';

const [proxies, services, perProxy] = [50, 20, 4];
const addressOf = (index: number): Address => formatAddress(`10.96.1.${index}`, 80);
const endpointOf = (index: number, more = 0): string => `10.244.${index}.${more + 2}`;

function serviceNamed(index: number, ips: string[]) {
  const name = `s${index}`;
  const objects = { service: service(`10.96.1.${index}`), slice: slice(ips.map((ip) => [ip])) };
  Object.assign(objects.service.metadata, { name });
  objects.service.spec.selector = { app: name };
  Object.assign(objects.slice.metadata, { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } });
  return objects;
}

test('each of many proxies hears of what it subscribed to and of nothing else, and all share one line', async () => {
  const kube = new FakeKube();
  for (let index = 0; index < services; index++) {
    const objects = serviceNamed(index, [endpointOf(index)]);
    kube.put(resources.services, objects.service);
    kube.put(resources.pods, pod(`s${index}-a`, endpointOf(index)));
    kube.put(resources.endpointSlices, objects.slice);
  }
  const subscriptions = new Subscriptions(new Cluster(kube), 'cluster.local');
  const heard: { proxy: number; address: Address; line: Line }[] = [];
  const wanted = (proxy: number) => Array.from({ length: perProxy }, (_, step) => addressOf((proxy + step) % services));
  for (let proxy = 0; proxy < proxies; proxy++)
    for (const address of wanted(proxy))
      subscriptions.subscribe(address, (line) => heard.push({ proxy, address, line }));
  expect(subscriptions.size).toBe(services);
  expect(heard).toHaveLength(proxies * perProxy);
  expect(new Set(heard.map((one) => one.line)).size).toBe(services);
  heard.length = 0;

  kube.put(resources.pods, pod('s7-b', endpointOf(7, 1)));
  kube.put(resources.endpointSlices, serviceNamed(7, [endpointOf(7), endpointOf(7, 1)]).slice);
  const subscribers = Array.from({ length: proxies }, (_, proxy) => proxy).filter((proxy) =>
    wanted(proxy).includes(addressOf(7)),
  );
  await until(() => heard.length >= subscribers.length, 'every subscriber hears of the new endpoint');
  expect(heard.map((one) => one.proxy).sort((a, b) => a - b)).toEqual(subscribers);
  expect(new Set(heard.map((one) => one.line)).size).toBe(1);
  const { target } = JSON.parse(heard[0]!.line.toString()) as { target: Target };
  expect(target.address).toBe(addressOf(7));
  expect(target.endpoints.map((one) => one.address)).toEqual(
    [endpointOf(7), endpointOf(7, 1)].map((ip) => `${ip}:8080`),
  );
  subscriptions.stop();
});
