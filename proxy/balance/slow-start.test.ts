import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Address, Endpoint } from '../../protocol/discovery.ts';
import { Balancer } from './balancer.ts';

const endpoints = (count: number): Endpoint[] =>
  Array.from({ length: count }, (_, i) => ({ address: `10.0.${i >> 8}.${i & 255}:80` as Address }));

function setup(seed = 7) {
  const clock = { now: 1000 };
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const balancer = new Balancer<undefined>({ attach: () => undefined, random, now: () => clock.now });
  /** Share of each endpoint, in the order of the list, where all are as fast; 1 is its fair one. */
  const shares = (picks = 20_000): number[] => {
    for (const state of balancer.endpoints) balancer.succeeded(state, 1);
    const counts = new Map(balancer.endpoints.map((state) => [state, 0]));
    for (let i = 0; i < picks; i++) {
      const state = balancer.pick()!;
      counts.set(state, counts.get(state)! + 1);
    }
    return [...counts.values()].map((count) => (count * balancer.size) / picks);
  };
  return { balancer, clock, shares };
}

test('an endpoint that joins others gets a tenth of its share at first, and all of it after twenty seconds', () => {
  const { balancer, clock, shares } = setup();
  balancer.update(endpoints(4));
  balancer.update(endpoints(5));
  expect(shares()[4]).toBeCloseTo(0.1, 1);
  clock.now += 10_000;
  expect(shares()[4]).toBeCloseTo(0.55, 1);
  clock.now += 10_000;
  expect(shares()[4]).toBeCloseTo(1, 1);
});

test('endpoints that are all new share alike: a target just found, one that had none, one replaced at a stroke', () => {
  const { balancer, shares } = setup();
  const alike = () => {
    for (const share of shares()) expect(share).toBeCloseTo(1, 1);
  };
  balancer.update(endpoints(3));
  alike();
  balancer.update([]);
  balancer.update(endpoints(4));
  alike();
  balancer.update(endpoints(9).slice(4));
  alike();
});

test('the only endpoint is used, however new', () => {
  const { balancer } = setup();
  balancer.update(endpoints(1));
  balancer.update(endpoints(2).slice(1));
  for (let i = 0; i < 100; i++) expect(balancer.pick()!.endpoint.address).toBe('10.0.0.1:80');
});

test('at the end of a roll the last old endpoint carries no more than half again its share', () => {
  const { balancer, clock, shares } = setup();
  balancer.update(endpoints(10));
  for (let gone = 1; gone <= 9; gone++) {
    clock.now += 1_000;
    balancer.update(endpoints(10 + gone).slice(gone));
  }
  const [last] = shares();
  expect(last).toBeLessThan(1.55);
  expect(last).toBeGreaterThan(1.3);
});

test('another pod behind the same address is eased in too', () => {
  const { balancer, shares } = setup();
  balancer.update(endpoints(4));
  balancer.update(endpoints(4).map((one, i) => (i === 2 ? { ...one, pod: 'other' } : one)));
  expect(shares()[2]).toBeCloseTo(0.1, 1);
});

test('while the others are ejected a new endpoint takes what there is', () => {
  const { balancer } = setup();
  balancer.update(endpoints(1));
  balancer.update(endpoints(2));
  const [old] = balancer.endpoints;
  for (let i = 0; i < 5; i++) balancer.failed(old!);
  for (let i = 0; i < 100; i++) expect(balancer.pick()!.endpoint.address).toBe('10.0.0.1:80');
});

test('whatever joins and leaves, no endpoint in use carries much more than half again its share, and none is starved', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 1, max: 12 }), fc.nat(12_000)), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.nat(1_000_000),
      (steps, seed) => {
        const { balancer, clock, shares } = setup(seed);
        for (const [from, count, wait] of steps) {
          balancer.update(endpoints(from + count).slice(from));
          clock.now += wait;
        }
        for (const share of shares(6_000)) {
          expect(share).toBeLessThan(1.75);
          expect(share).toBeGreaterThan(0.02);
        }
      },
    ),
    { numRuns: 60 },
  );
});
