import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

test('a fifth of the requests and ten more, whatever was asked for before', () => {
  const budget = new RetryBudget();
  for (let i = 0; i < 100; i++) budget.request(0);
  let taken = 0;
  for (let i = 0; i < 100; i++) if (budget.take(0)) taken++;
  expect(taken).toBe(30);
});

test('what is ten seconds old counts no more', () => {
  const budget = new RetryBudget();
  for (let i = 0; i < 100; i++) budget.request(500);
  for (let i = 0; i < 30; i++) expect(budget.take(1_500)).toBe(true);
  expect(budget.take(9_900)).toBe(false);
  // The requests have gone, the retries not yet; then these too.
  expect(budget.take(10_500)).toBe(false);
  for (let i = 0; i < 10; i++) expect(budget.take(11_500)).toBe(true);
  expect(budget.take(11_500)).toBe(false);
});

test('in no ten seconds are there more retries than a fifth of the requests before them, and ten', () => {
  const step = fc.record({ wait: fc.nat(3_000), requests: fc.nat(30), wanted: fc.nat(40) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const budget = new RetryBudget();
      const requests: number[] = [];
      const retries: number[] = [];
      let now = 0;
      for (const { wait, requests: asked, wanted } of steps) {
        now += wait;
        for (let i = 0; i < asked; i++) {
          budget.request(now);
          requests.push(now);
        }
        const before = retries.length;
        for (let i = 0; i < wanted; i++) if (budget.take(now)) retries.push(now);
        // A window of whole slots is at least nine seconds long.
        const within = (times: number[], ms: number) => times.filter((time) => time > now - ms).length;
        const allowed = within(requests, 10_000) * 0.2 + 10;
        if (retries.length > before) expect(within(retries, 9_000)).toBeLessThanOrEqual(allowed);
        // And the floor is never denied.
        if (wanted > 0) expect(within(retries, 10_000)).toBeGreaterThanOrEqual(Math.min(10, wanted));
      }
    }),
  );
});
