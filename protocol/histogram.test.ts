import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  addHistogram,
  bucketCount,
  bucketMiddle,
  bucketOf,
  bucketStart,
  encodeHistogram,
  quantile,
} from './histogram.ts';

test('every value falls into a bucket whose middle is within 2 % of it', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 32 - 1 }), (value) => {
      const bucket = bucketOf(value);
      expect(bucket).toBeLessThan(bucketCount);
      expect(bucketStart(bucket)).toBeLessThanOrEqual(value);
      expect(bucketStart(bucket + 1)).toBeGreaterThan(value);
      expect(Math.abs(bucketMiddle(bucket) - value) / value).toBeLessThanOrEqual(0.02);
    }),
  );
});

test('values beyond the range fall into the last bucket', () => {
  expect(bucketOf(2 ** 40)).toBe(bucketCount - 1);
  expect(bucketOf(-5)).toBe(0);
});

test('the sparse form carries every count', () => {
  const counts = new Uint32Array(bucketCount);
  for (const value of [1, 1, 70, 5000, 2 ** 31]) counts[bucketOf(value)]!++;
  const copy = new Uint32Array(bucketCount);
  addHistogram(copy, encodeHistogram(counts));
  expect(copy).toEqual(counts);
});

test('quantiles come from the rank, not from interpolation over empty buckets', () => {
  const counts = new Uint32Array(bucketCount);
  for (let i = 0; i < 99; i++) counts[bucketOf(1000)]!++;
  counts[bucketOf(300_000)]!++;
  expect(quantile(counts, 0.5)).toBeCloseTo(1000, -2);
  expect(quantile(counts, 0.99)).toBeCloseTo(1000, -2);
  expect(quantile(counts, 1)! / 300_000).toBeCloseTo(1, 1);
  expect(quantile(new Uint32Array(bucketCount), 0.5)).toBeUndefined();
});
