import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { MemoryObjects } from '../controllers/test-objects.ts';
import { parseStat } from '../process.ts';
import { AddressPool } from './addresses.ts';
import { resolve } from './dns.ts';
import { renderTable, servicePorts } from './services.ts';

const slice = (name: string, endpoints: object[], ports: object[] = [{ name: 'http', port: 8080 }]) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${name}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
  ports,
  endpoints,
});
const service = (name: string, spec: object) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { ports: [{ name: 'http', port: 80 }], ...spec },
});

describe('cluster DNS', () => {
  const objects = new MemoryObjects();
  const outside: string[] = [];
  const codes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN'];

  beforeEach(async () => {
    if (objects.get(resources.services, 'web', 'shop')) return;
    await objects.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
    await objects.create(resources.services, service('web', { clusterIP: '10.96.3.4' }));
    await objects.create(resources.services, service('db', { clusterIP: 'None' }));
    await objects.create(resources.services, service('far', { type: 'ExternalName', externalName: 'example.org' }));
    const round = { type: 'ExternalName', externalName: 'round.shop.svc.cluster.local' };
    await objects.create(resources.services, service('round', round));
    const near = { type: 'ExternalName', externalName: 'web.shop.svc.cluster.local' };
    await objects.create(resources.services, service('near', near));
    const endpoints = [
      { addresses: ['10.244.0.5'], hostname: 'db-0' },
      { addresses: ['10.244.0.6'], conditions: { ready: false } },
    ];
    await objects.create(resources.endpointSlices, slice('db', endpoints));
  });

  async function ask(
    name: string,
    type: 'A' | 'AAAA' | 'SRV' | 'PTR' = 'A',
  ): Promise<{ rcode: string; data: unknown[] }> {
    const query = encode({ type: 'query', id: 7, flags: 256, questions: [{ type, name }] });
    const reply = decode(
      await resolve(
        objects,
        async (wire) => {
          outside.push(decode(wire).questions?.[0]?.name ?? '');
          throw new Error('nobody there');
        },
        query,
      ),
    );
    expect(reply.id).toBe(7);
    return {
      rcode: codes[(reply.flags ?? 0) & 15] ?? '?',
      data: (reply.answers ?? []).map((one) => ('data' in one ? one.data : undefined)),
    };
  }

  it.each([
    ['web.shop.svc.cluster.local', 'A', 'NOERROR', ['10.96.3.4']],
    ['WEB.shop.svc.CLUSTER.local', 'A', 'NOERROR', ['10.96.3.4']],
    ['web.shop.svc.cluster.local', 'AAAA', 'NOERROR', []],
    ['db.shop.svc.cluster.local', 'A', 'NOERROR', ['10.244.0.5']],
    ['db-0.db.shop.svc.cluster.local', 'A', 'NOERROR', ['10.244.0.5']],
    ['db-1.db.shop.svc.cluster.local', 'A', 'NXDOMAIN', []],
    ['far.shop.svc.cluster.local', 'A', 'NOERROR', ['example.org']],
    ['near.shop.svc.cluster.local', 'A', 'NOERROR', ['web.shop.svc.cluster.local', '10.96.3.4']],
    ['round.shop.svc.cluster.local', 'A', 'NOERROR', Array.from({ length: 9 }, () => 'round.shop.svc.cluster.local')],
    ['none.shop.svc.cluster.local', 'A', 'NXDOMAIN', []],
    ['4.3.96.10.in-addr.arpa', 'PTR', 'NOERROR', ['web.shop.svc.cluster.local']],
    ['5.0.244.10.in-addr.arpa', 'PTR', 'NOERROR', ['db-0.db.shop.svc.cluster.local']],
    ['9.9.244.10.in-addr.arpa', 'PTR', 'NXDOMAIN', []],
    ['web.shop.svc.cluster.local.shop.svc.cluster.local', 'A', 'NXDOMAIN', []],
  ] as const)('answers %s %s with %s %j', async (name, type, rcode, data) => {
    expect(await ask(name, type)).toEqual({ rcode, data });
  });

  it('gives port and target of a named port', async () => {
    const target = { port: 80, target: 'web.shop.svc.cluster.local', weight: 100, priority: 0 };
    expect((await ask('_http._tcp.web.shop.svc.cluster.local', 'SRV')).data).toEqual([target]);
    const member = { port: 8080, target: 'db-0.db.shop.svc.cluster.local', weight: 100, priority: 0 };
    expect((await ask('_http._tcp.db.shop.svc.cluster.local', 'SRV')).data).toEqual([member]);
  });

  it('asks outside for every other name, and says so where nobody answers', async () => {
    outside.length = 0;
    expect((await ask('example.org')).rcode).toBe('SERVFAIL');
    expect(outside.at(-1)).toBe('example.org');
    expect(outside.some((name) => name.endsWith('cluster.local'))).toBe(false);
  });
});

describe('service addresses', () => {
  it('lead to ready endpoints only, by the name of the port', () => {
    const endpoints = [{ addresses: ['10.244.0.5'] }, { addresses: ['10.244.0.6'], conditions: { ready: false } }];
    const ports = servicePorts([service('web', { clusterIP: '10.96.3.4' })], [slice('web', endpoints)]);
    expect(ports).toEqual([
      { protocol: 'tcp', addresses: ['10.96.3.4'], port: 80, endpoints: [{ address: '10.244.0.5', port: 8080 }] },
    ]);
    const table = renderTable(ports, ['10.244.0.5']);
    expect(table).toContain('numgen random mod 1 map { 0 : 10.244.0.5 . 8080 }');
    expect(table).toContain('10.96.3.4 . tcp . 80 : goto service_0');
    expect(table).toContain('10.244.0.5 . 10.244.0.5');
  });

  it('lead to endpoints that end but still serve while no other is ready', () => {
    const ending = { addresses: ['10.244.0.5'], conditions: { ready: false, serving: true, terminating: true } };
    const ready = { addresses: ['10.244.0.6'], conditions: { ready: true, serving: true, terminating: false } };
    const addresses = (endpoints: object[]) =>
      servicePorts([service('web', { clusterIP: '10.96.3.4' })], [slice('web', endpoints)])[0]!.endpoints.map(
        (one) => one.address,
      );
    expect(addresses([ending])).toEqual(['10.244.0.5']);
    expect(addresses([ending, ready])).toEqual(['10.244.0.6']);
  });

  it('keep a client at its endpoint where asked to, also when another endpoint goes', () => {
    const addresses = ['10.244.0.5', '10.244.0.6', '10.244.0.7'];
    const slots = (list: string[]): string[] => {
      const endpoints = list.map((address) => ({ addresses: [address] }));
      const sticky = service('web', { clusterIP: '10.96.3.4', sessionAffinity: 'ClientIP' });
      const table = renderTable(servicePorts([sticky], [slice('web', endpoints)]), []);
      const [, map] = /jhash ip saddr mod 64 seed 0x6d657368 map \{ ([^}]*) \}/.exec(table)!;
      return map!.split(', ').map((entry) => entry.split(' ')[2]!);
    };
    const before = slots(addresses);
    expect(new Set(before)).toEqual(new Set(addresses));
    const after = slots(addresses.slice(0, 2));
    expect(after.filter((address, slot) => before[slot] !== addresses[2] && before[slot] !== address)).toEqual([]);
  });

  it('without endpoints are in no rule, so that connections are refused', () => {
    const ports = servicePorts([service('web', { clusterIP: '10.96.3.4' })], []);
    expect(renderTable(ports, [])).not.toContain('10.96.3.4');
  });
});

describe('the pool of pod addresses', () => {
  it('never gives an address to two owners, nor one that ends in 0 or 255', () => {
    const pool = new AddressPool();
    expect(pool.take('10.244.0.3', 'old')).toBe(true);
    const given = Array.from({ length: 600 }, (_, owner) => pool.allocate(`pod-${owner}`));
    expect(new Set([...given, '10.244.0.3']).size).toBe(601);
    expect(given.filter((address) => /\.(0|255)$/.test(address))).toEqual([]);
    expect(pool.take('10.244.0.3', 'new')).toBe(false);
    pool.release('old');
    expect(pool.take('10.244.0.3', 'new')).toBe(true);
  });
});

describe('/proc/PID/stat', () => {
  it('is read whatever the name of the command', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 4_194_304 }), (name, pid) => {
        const rest = Array.from({ length: 48 }, (_, index) => (index === 18 ? '987654' : '0')).join(' ');
        expect(parseStat(`${pid} (${name}) S ${rest}\n`)).toEqual({ pid, state: 'S', start: '987654' });
      }),
    );
  });
});
