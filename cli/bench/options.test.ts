import { expect, test } from 'vitest';
import { type BenchFlags, parseOptions } from './options.ts';

const flags: BenchFlags = {
  ...{ rate: '100', duration: '30s', rounds: '3', connections: '20', replicas: '1', wait: '2m' },
};

test('a round lasts what is said of it, to a tenth of a second', () => {
  expect(parseOptions(flags).roundSeconds).toBe(10);
  expect(parseOptions({ ...flags, duration: '10s' }).roundSeconds).toBe(3.3);
});

test.each([
  ['2s', '3', 'makes rounds of 0.7 s'],
  ['2h', '1', 'makes rounds of 7200.0 s'],
  ['10s', '0', '--rounds "0" is not a whole number'],
])('%s in %s rounds is refused', (duration, rounds, message) => {
  expect(() => parseOptions({ ...flags, duration, rounds })).toThrow(message);
});
