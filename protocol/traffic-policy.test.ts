import { expect, test } from 'vitest';
import { readTrafficPolicy } from './traffic-policy.ts';

const read = (annotations: Record<string, string>) =>
  readTrafficPolicy(Object.fromEntries(Object.entries(annotations).map(([k, v]) => [`config.mesh.dev/${k}`, v])));

test('without annotations of its own there is no policy', () => {
  expect(readTrafficPolicy(undefined)).toEqual({ policy: undefined, problems: [] });
  expect(read({ 'opaque-ports': '3306' })).toEqual({ policy: undefined, problems: [] });
});

test('all of them together', () => {
  const { policy, problems } = read({
    'timeout-request': '1m',
    'timeout-response': '2s',
    'timeout-idle': ' 500ms ',
    retry: '5xx, gateway-error,429,500-503,unavailable,resource-exhausted',
    'retry-limit': '3',
    'retry-methods': 'GET, POST',
    'failure-accrual': 'consecutive',
  });
  expect(problems).toEqual([]);
  expect(policy).toEqual({
    timeouts: { request: 60_000, response: 2_000, idle: 500 },
    retry: {
      statuses: [
        [500, 599],
        [502, 504],
        [429, 429],
        [500, 503],
      ],
      grpc: [14, 8],
      limit: 3,
      methods: ['GET', 'POST'],
    },
    failureAccrual: 'consecutive',
  });
});

test('one retry where only what to retry is said', () => {
  expect(read({ retry: '503' }).policy).toEqual({ retry: { statuses: [[503, 503]], grpc: [], limit: 1 } });
});

test.each([
  ['timeout-request', '5', '"5": it is not a duration such as 500ms, 2s or 1m'],
  ['timeout-request', '0s', 'a duration is from 1ms to 24h'],
  ['timeout-response', '25h', 'a duration is from 1ms to 24h'],
  ['timeout-idle', '-1s', 'it is not a duration'],
  ['timeout-idle', '999999999h', 'a duration is from 1ms to 24h'],
  ['retry', '', 'it names no status'],
  ['retry', '4xx', '"4xx" is not a status (429, 500-504, 5xx, gateway-error) nor one of gRPC'],
  ['retry', '200', '"200" is not a status'],
  ['retry', '504-500', '"504-500" is not a status'],
  ['retry', 'ok', '"ok" is not a status'],
  ['retry', 'constructor', '"constructor" is not a status'],
  ['failure-accrual', 'yes', 'it is not consecutive'],
])('%s: %j does not hold, and is told', (name, value, message) => {
  const { policy, problems } = read({ [name]: value, ...(name === 'retry' ? {} : { retry: '503' }) });
  expect(problems).toEqual([
    { annotation: `config.mesh.dev/${name}`, message: expect.stringContaining(message) as string },
  ]);
  expect(policy).toEqual(name === 'retry' ? undefined : { retry: { statuses: [[503, 503]], grpc: [], limit: 1 } });
});

test.each([
  ['retry-limit', '0', 'it is not a number from 1 to 10'],
  ['retry-limit', '11', 'it is not a number from 1 to 10'],
  ['retry-methods', 'get', '"get" is not a method such as GET or POST'],
  ['retry-methods', 'CONNECT', '"CONNECT" is not a method'],
  ['retry-methods', ',', 'it names no method'],
])('%s: %j is told, and the rest holds', (name, value, message) => {
  const { policy, problems } = read({ retry: '503', [name]: value });
  expect(problems.map((one) => one.message).join()).toContain(message);
  expect(policy).toEqual({ retry: { statuses: [[503, 503]], grpc: [], limit: 1 } });
});

test('a limit or methods without anything to retry say nothing, and that is told', () => {
  const { policy, problems } = read({ 'retry-limit': '2', 'retry-methods': 'POST' });
  expect(policy).toBeUndefined();
  expect(problems.map((one) => one.message)).toEqual(
    new Array(2).fill('it says nothing without config.mesh.dev/retry'),
  );
});
