import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatGrpcTimeout, parseDeadline, parseGrpcTimeout } from './mesh-headers.ts';

test.each([
  ['1H', 3_600_000],
  ['2M', 120_000],
  ['3S', 3_000],
  ['99999999m', 99_999_999],
  ['500u', 0.5],
  ['1000000n', 1],
  ['', undefined],
  ['1', undefined],
  ['1s', undefined],
  ['-1S', undefined],
  ['123456789m', undefined],
  [' 1S', undefined],
])('grpc-timeout %j is %s ms', (text, ms) => {
  expect(parseGrpcTimeout(text)).toBe(ms);
});

test('what is formatted is never longer than what there is, and less than a second shorter', () => {
  fc.assert(
    fc.property(fc.double({ min: -1e3, max: 9e10, noNaN: true }), (ms) => {
      const read = parseGrpcTimeout(formatGrpcTimeout(ms))!;
      expect(read).toBeLessThanOrEqual(Math.max(0, ms));
      expect(read).toBeGreaterThan(ms - 1_000);
    }),
  );
});

test('a deadline is whole milliseconds, else it says nothing', () => {
  expect(['250', '0', '-1', '1.5', '', '1e3', '1234567890'].map(parseDeadline)).toEqual([
    250,
    0,
    ...new Array(5).fill(undefined),
  ]);
});
