import { expect, test } from 'vitest';
import { growth } from './growth.ts';

const sample = (seconds: number, mb: number) => ({ seconds, rss: mb * 2 ** 20, private: 0 });

test('tells slope and maximum of what comes after the first minutes', () => {
  const samples = [sample(0, 500), sample(300, 80), sample(1200, 83), sample(2100, 86), sample(3000, 89)];
  expect(growth(samples, 'rss', 300)).toEqual({
    first_mb: 80,
    last_mb: 89,
    max_mb: 89,
    mb_per_hour: expect.closeTo(12),
  });
  expect(growth(samples, 'private', 300).mb_per_hour).toBe(0);
});

test('says that there is too little to tell', () => {
  expect(() => growth([sample(0, 1), sample(10, 1)], 'rss', 10)).toThrow('only 1 samples after the first 10 s');
});
