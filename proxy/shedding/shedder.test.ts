import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InFlight } from './in-flight.ts';
import { Shedder, type Waiter } from './shedder.ts';
import { overloaded } from './test-application.ts';

function waiter(): Waiter & { told: number | undefined } {
  return {
    waitsSince: 0,
    told: undefined,
    onTurn(permit) {
      this.told = permit;
    },
  };
}

test('without a sign of overload everybody gets in', () => {
  const shedder = new Shedder(() => 1);
  for (let i = 0; i < 10_000; i++) expect(shedder.enter()).toBe(1);
  expect(shedder.inFlight).toBe(10_000);
});

test('of those who wait the newest is next', () => {
  const { shedder, held } = overloaded();
  const [old, young] = [waiter(), waiter()];
  shedder.wait(old);
  shedder.wait(young);
  shedder.leave(held.shift()!);
  expect([old.told, young.told]).toEqual([undefined, expect.any(Number)]);
});

test('who has waited for a tenth of a second is turned away', () => {
  const { clock, shedder } = overloaded();
  const [old, young] = [waiter(), waiter()];
  shedder.wait(old);
  clock.now += 60;
  shedder.wait(young);
  clock.now += 60;
  shedder.expire(clock.now);
  expect([old.told, young.told]).toEqual([0, undefined]);
  expect(shedder.shed).toBe(1);
});

test('beyond the limit of those who wait the oldest is turned away', () => {
  const { shedder } = overloaded();
  const all = Array.from({ length: 1_000 }, waiter);
  for (const one of all) shedder.wait(one);
  const kept = Math.min(256, shedder.limit);
  expect(shedder.waiting).toBe(kept);
  expect(all.findIndex((one) => one.told === undefined)).toBe(1_000 - kept);
});

test('who is forgotten hears nothing and takes no turn', () => {
  const { clock, shedder, held } = overloaded();
  const gone = waiter();
  shedder.wait(gone);
  shedder.forget(gone);
  shedder.leave(held.shift()!);
  clock.now += 1_000;
  shedder.expire(clock.now);
  expect(gone.told).toBeUndefined();
  expect(shedder.enter()).toBeGreaterThan(0);
});

test('requests that last long make room for others, though they are there still', () => {
  const { clock, shedder, held } = overloaded();
  clock.now += 5_000;
  shedder.enter();
  clock.now += 5_000;
  expect(shedder.enter()).toBeGreaterThan(0);
  expect(shedder.inFlight).toBeLessThan(held.length);
});

test('what is in flight is counted exactly, whoever leaves when', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('enter', 'leave', 'wait'), fc.nat(700))), (steps) => {
      const inFlight = new InFlight();
      let now = 1;
      const held: number[] = [];
      for (const [step, n] of steps) {
        if (step === 'wait') now += n;
        else if (step === 'leave' && held.length > 0) inFlight.leave(held.splice(n % held.length, 1)[0]!);
        else if (step === 'enter') {
          inFlight.age(now, 1_000);
          inFlight.enter();
          held.push(now);
        }
        inFlight.age(now, 1_000);
        const fresh = held.filter((since) => now - since < 1_000).length;
        const notOld = held.filter((since) => now - since < 2_000 + 2 * 700).length;
        expect(inFlight.count).toBeGreaterThanOrEqual(fresh);
        expect(inFlight.count).toBeLessThanOrEqual(notOld);
      }
      for (const since of held) inFlight.leave(since);
      expect(inFlight.count).toBe(0);
    }),
    { numRuns: 500 },
  );
});
