import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Address, Endpoint } from '../../protocol/discovery.ts';
import { Balancer } from './balancer.ts';

const endpoint = (n: number): Endpoint => ({ address: `10.0.0.${n}:80` as Address });

function setup(count: number) {
  const clock = { now: 1000 };
  let seed = 7;
  const random = () => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  const balancer = new Balancer<undefined>({ attach: () => undefined, random, now: () => clock.now });
  balancer.update(Array.from({ length: count }, (_, i) => endpoint(i + 1)));
  return { balancer, clock };
}

function spread(balancer: Balancer<undefined>, picks: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < picks; i++) {
    const address = balancer.pick()!.endpoint.address;
    counts.set(address, (counts.get(address) ?? 0) + 1);
  }
  return counts;
}

test('without endpoints there is nothing to pick', () => {
  expect(setup(0).balancer.pick()).toBeUndefined();
});

test('endpoints alike get about the same share', () => {
  const { balancer } = setup(3);
  for (const count of spread(balancer, 3000).values()) expect(count).toBeGreaterThan(700);
});

test('what is pending makes an endpoint less wanted', () => {
  const { balancer } = setup(2);
  balancer.endpoints[0]!.pending = 5;
  expect(spread(balancer, 100)).toEqual(new Map([['10.0.0.2:80', 100]]));
});

test('a slow endpoint gets fewer requests, and is tried again when it has been left alone', () => {
  const { balancer, clock } = setup(2);
  const [slow, fast] = balancer.endpoints;
  balancer.succeeded(slow!, 100);
  balancer.succeeded(fast!, 2);
  expect(spread(balancer, 50).get('10.0.0.1:80')).toBeUndefined();
  clock.now += 60_000;
  balancer.succeeded(fast!, 2);
  expect(spread(balancer, 50).get('10.0.0.1:80')).toBeGreaterThan(0);
});

test('a new endpoint begins at the mean latency', () => {
  const { balancer, clock } = setup(2);
  for (const state of balancer.endpoints) balancer.succeeded(state, 40);
  balancer.update([endpoint(1), endpoint(2), endpoint(3)]);
  expect(balancer.endpoints[2]!.latency(clock.now)).toBeCloseTo(40);
});

test('an endpoint that stays keeps its state, another pod at its address does not', () => {
  const { balancer } = setup(2);
  const kept = balancer.endpoints[0]!;
  kept.pending = 3;
  balancer.update([endpoint(1), { ...endpoint(2), pod: 'other' }]);
  expect(balancer.endpoints[0]).toBe(kept);
  expect(balancer.endpoints[1]!.pending).toBe(0);
});

test('five failures in a row eject an endpoint; probation doubles; success ends it', () => {
  const { balancer, clock } = setup(3);
  const failing = balancer.endpoints[0]!;
  for (let i = 0; i < 4; i++) balancer.failed(failing);
  expect(failing.ejectedUntil).toBe(0);
  balancer.failed(failing);
  const first = failing.ejectedUntil - clock.now;
  expect(first).toBeGreaterThanOrEqual(750);
  expect(first).toBeLessThanOrEqual(1250);
  expect(spread(balancer, 100).has('10.0.0.1:80')).toBe(false);
  clock.now += first;
  expect(spread(balancer, 100).has('10.0.0.1:80')).toBe(true);
  balancer.failed(failing);
  expect(failing.ejectedUntil - clock.now).toBeGreaterThanOrEqual(1500);
  balancer.succeeded(failing, 1);
  expect(failing.ejectedUntil).toBe(0);
  expect(failing.ejections).toBe(0);
});

test('a retry goes to the endpoint that has not failed lately, though others answered on connections they had', () => {
  const { balancer, clock } = setup(3);
  const [ending, dead, sound] = balancer.endpoints;
  // The sound one is the busiest: by load alone it would come last.
  sound!.pending = 100;
  for (const state of [ending!, dead!]) {
    balancer.failed(state);
    balancer.succeeded(state, 1);
    expect(balancer.pick(state.endpoint)).toBe(state === ending ? dead : sound);
  }
  expect(balancer.pick(ending!.endpoint)).toBe(sound);
  clock.now += 10_000;
  expect(balancer.pick(ending!.endpoint)).toBe(dead);
});

test('one that asks for rest is left alone that long, whatever comes of it, and never more than half of all', () => {
  const { balancer, clock } = setup(3);
  const [first, second] = balancer.endpoints;
  balancer.rest(first!, 5_000);
  balancer.succeeded(first!, 1);
  balancer.rest(second!, 5_000);
  expect([...spread(balancer, 300).keys()].sort()).toEqual(['10.0.0.2:80', '10.0.0.3:80']);
  clock.now += 5_000;
  expect(spread(balancer, 300).size).toBe(3);
});

test('a retry goes to another endpoint, even to one on probation', () => {
  const { balancer } = setup(2);
  for (let i = 0; i < 5; i++) balancer.failed(balancer.endpoints[0]!);
  expect(balancer.pick()!.endpoint.address).toBe('10.0.0.2:80');
  expect(balancer.pick(endpoint(2))!.endpoint.address).toBe('10.0.0.1:80');
  expect(setup(1).balancer.pick(endpoint(1))!.endpoint.address).toBe('10.0.0.1:80');
});

test('never more than half are ejected, whatever happens in whatever order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('fail', 'succeed', 'update', 'wait'), fc.integer({ min: 1, max: 6 })), {
        maxLength: 300,
      }),
      (steps) => {
        const { balancer, clock } = setup(4);
        for (const [step, n] of steps) {
          const state = balancer.endpoints[n % Math.max(1, balancer.size)];
          if (step === 'fail' && state) for (let i = 0; i < n; i++) balancer.failed(state);
          else if (step === 'succeed' && state) balancer.succeeded(state, n);
          else if (step === 'update') balancer.update(Array.from({ length: n }, (_, i) => endpoint(i + 1)));
          else clock.now += n * 400;
          const ejected = balancer.endpoints.filter((one) => one.ejectedUntil > clock.now).length;
          expect(ejected).toBeLessThanOrEqual(Math.floor(balancer.size / 2));
          expect(balancer.pick()).toBeDefined();
          expect(balancer.pick()!.ejectedUntil).toBe(0);
        }
      },
    ),
  );
});
