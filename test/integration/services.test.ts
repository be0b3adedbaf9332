/** Service addresses and names of a local mesh, as pods and this machine see them. Needs root. */
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { type PodObject, until, workload } from '../support/mesh.ts';

/** Answers TCP and UDP with the pod's own name. */
const echo = `
import { createSocket } from 'node:dgram';
import http from 'node:http';
import { hostname } from 'node:os';
http.createServer((_, answer) => answer.end(hostname())).listen(8080);
const udp = createSocket('udp4').bind(8080);
udp.on('message', (_, from) => udp.send(hostname(), from.port, from.address));
`;
const datagram = `
import { createSocket } from 'node:dgram';
const udp = createSocket('udp4');
udp.once('message', (answer) => { console.log(String(answer)); udp.close(); });
udp.send('x', 8080, 'datagrams');
setTimeout(() => process.exit(1), 5000).unref();
`;
const lookup = `
import dns from 'node:dns/promises';
const [kind, name] = process.argv.slice(1);
console.log(JSON.stringify(await dns.resolve(name, kind).catch((error) => error.code)));
`;

describe.skipIf(unable)('services of a local mesh', () => {
  let mesh: LocalMesh;
  let client: PodObject;
  let servers: PodObject[];

  const service = (name: string, spec: object): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { selector: { app: 'echo' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...spec },
  });
  const make = (name: string, spec: object) => mesh.client.create(resources.services, service(name, spec));
  const curl = (from: PodObject, url: string) =>
    mesh.exec(from, 'curl', '-sS', '--noproxy', '*', '--max-time', '5', url);
  const resolve = async (kind: string, name: string): Promise<unknown> =>
    JSON.parse(await mesh.script(client, lookup, kind, name));

  beforeAll(async () => {
    mesh = await LocalMesh.install();
    const command = [process.execPath, '--input-type=module', '-e', echo];
    await mesh.apply(workload('echo', command, { port: 8080, replicas: 3 }), false);
    await mesh.apply(workload('client', ['sleep', '100000']), false);
    servers = await mesh.ready('echo', 3);
    [client] = (await mesh.ready('client')) as [PodObject];
  });
  afterAll(async () => expect(await mesh?.uninstall()).toEqual([]));

  it('spread connections over their endpoints, or keep a client at one', async () => {
    await make('spread', {});
    await make('sticky', { sessionAffinity: 'ClientIP' });
    const names = async (host: string) => {
      const seen = new Set<string>();
      for (let n = 0; n < 20; n++) seen.add(await curl(client, `http://${host}/`));
      return seen;
    };
    await until('the addresses work', () => curl(client, 'http://sticky/').catch(() => undefined));
    expect((await names('spread')).size).toBeGreaterThan(1);
    expect((await names('sticky')).size).toBe(1);
  });

  it('lead a pod to itself too', async () => {
    const own = servers[0]!;
    await mesh.client.patch(resources.pods, own.metadata.name!, 'default', { metadata: { labels: { only: 'me' } } });
    await make('mirror', { selector: { only: 'me' } });
    const answer = await until('an answer', () => curl(own, 'http://mirror/').catch(() => undefined));
    expect(answer).toBe(own.metadata.name);
  });

  it('carry UDP', async () => {
    await make('datagrams', { ports: [{ name: 'udp', port: 8080, protocol: 'UDP' }] });
    const answer = await until('a datagram', () => mesh.script(client, datagram).catch(() => undefined));
    expect(servers.map((pod) => pod.metadata.name)).toContain(answer);
  });

  it('without endpoints refuse at once', async () => {
    await make('nobody', { selector: { app: 'nobody' } });
    const begun = Date.now();
    await expect(curl(client, 'http://nobody/')).rejects.toThrow(/Couldn't connect|refused/);
    expect(Date.now() - begun).toBeLessThan(4000);
  });

  it('are published on 127.0.0.1 under node ports and as load balancers; a port in use is an event', async () => {
    const { spec } = await make('node-port', { type: 'NodePort' });
    const answer = await until('the node port', () =>
      fetch(`http://127.0.0.1:${spec.ports[0].nodePort}/`).then(
        (response) => response.text(),
        () => undefined,
      ),
    );
    expect(servers.map((pod) => pod.metadata.name)).toContain(answer);
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((listening) => other.once('listening', listening));
    const { port } = other.address() as { port: number };
    await make('balancer', { type: 'LoadBalancer', ports: [{ name: 'http', port, targetPort: 8080 }] });
    const event = await until('the event', async () => {
      const events = await mesh.client.list(resources.events, { namespace: 'default' });
      return events.find((one) => one.involvedObject.name === 'balancer');
    });
    expect(event.message).toBe(`Not published: port ${port} of 127.0.0.1 is in use`);
    other.close();
    await until('the published service', async () => {
      const { status } = await mesh.client.get(resources.services, 'balancer', 'default');
      return status?.loadBalancer?.ingress?.[0]?.ip === '127.0.0.1';
    });
  });

  it('have names of every kind', async () => {
    await make('headless', { clusterIP: 'None' });
    await make('alias', {
      type: 'ExternalName',
      externalName: 'spread.default.svc.cluster.local',
      selector: undefined,
    });
    const { spec } = await mesh.client.get(resources.services, 'spread', 'default');
    const addresses = servers.map((pod) => pod.status.podIP).sort();
    await until('the headless name', async () => {
      const found = await resolve('A', 'headless.default.svc.cluster.local');
      return Array.isArray(found) && JSON.stringify(found.sort()) === JSON.stringify(addresses);
    });
    expect(await resolve('A', 'spread.default.svc.cluster.local')).toEqual([spec.clusterIP]);
    expect(await resolve('AAAA', 'spread.default.svc.cluster.local')).toBe('ENODATA');
    expect(await resolve('A', 'missing.default.svc.cluster.local')).toBe('ENOTFOUND');
    expect(await resolve('PTR', `${spec.clusterIP.split('.').reverse().join('.')}.in-addr.arpa`)).toEqual([
      'spread.default.svc.cluster.local',
    ]);
    expect(await resolve('SRV', '_http._tcp.spread.default.svc.cluster.local')).toEqual([
      expect.objectContaining({ name: 'spread.default.svc.cluster.local', port: 80 }),
    ]);
    expect(servers.map((pod) => pod.metadata.name)).toContain(await curl(client, 'http://alias/'));
  });
});
