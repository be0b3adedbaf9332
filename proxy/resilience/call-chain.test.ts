import { expect, test } from 'vitest';
import { CallChain } from './call-chain.ts';

const trace = (n: number) => `00-${n.toString(16).padStart(32, '0')}-00f067aa0ba902b7-01`;

test('a failure in vain concerns the requests that were on their way then', () => {
  const chain = new CallChain();
  const before = performance.now();
  expect(chain.failedInVainSince(before)).toBe(false);
  chain.failedInVain();
  expect(chain.failedInVainSince(before)).toBe(true);
  expect(chain.failedInVainSince(performance.now() + 1)).toBe(false);
});

test('traces of retries are known, the newest thousand of them; what is no trace is none', () => {
  const chain = new CallChain();
  for (let n = 1; n <= 1_100; n++) chain.retryCame(trace(n));
  for (const none of [undefined, '', '00-12-34-01']) chain.retryCame(none);
  expect([1, 76, 77, 1_100, 1_101].map((n) => chain.ofRetry(trace(n)))).toEqual([false, false, true, true, false]);
  expect(chain.ofRetry(undefined)).toBe(false);
  expect(chain.ofRetry(trace(1_100).replace('00f067aa0ba902b7', '0000000000000001'))).toBe(true);
});
