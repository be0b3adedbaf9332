import { expect, test } from 'vitest';
import { hasFallen } from './restart-workload.ts';

test('a fall of more than two points is one where all was well', () => {
  expect(hasFallen({ success: 1, requests: 100 }, { success: 0.97, requests: 100 })).toBe(true);
  expect(hasFallen({ success: 1, requests: 100 }, { success: 0.99, requests: 100 })).toBe(false);
});

test('a service that always fails a share is not taken for fallen by chance', () => {
  expect(hasFallen({ success: 0.8, requests: 100 }, { success: 0.73, requests: 100 })).toBe(false);
  expect(hasFallen({ success: 0.8, requests: 100 }, { success: 0.6, requests: 100 })).toBe(true);
});
