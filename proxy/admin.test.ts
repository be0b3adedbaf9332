import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ProxyState } from '../protocol/diagnostics.ts';
import { startAdmin } from './admin.ts';
import { portOf } from './net/listener.ts';
import { Temporary } from './temporary.ts';

const applied: string[] = [];
const level = new Temporary<'info' | 'debug'>('info', (value) => applied.push(value));
let server: Awaited<ReturnType<typeof startAdmin>>;

beforeAll(async () => {
  server = await startAdmin(
    {
      notReady: () => undefined,
      loadMetrics: () => Promise.reject(new Error('not here')),
      state: () => ({ pod: 'web-1' }) as ProxyState,
      environment: {},
      settings: {
        '/log-level': { allowed: ['info', 'debug'], set: (value, forMs) => level.set(value as 'info', forMs) },
      },
    },
    0,
    '0.0.0.0',
  );
});
afterAll(() => server.close());

function ask(path: string, method = 'GET', host = '127.0.0.1'): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const call = request({ host, port: portOf(server), path, method });
    call.on('error', reject);
    call.on('response', (response) => text(response).then((body) => resolve([response.statusCode!, body]), reject));
    call.end();
  });
}

test('the state is told to loopback', async () => {
  expect(await ask('/state.json')).toEqual([200, '{"pod":"web-1"}']);
});

const outside = Object.values(networkInterfaces())
  .flatMap((one) => one ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

test.skipIf(!outside)('state and changes are refused to any other address, probes are not', async () => {
  expect(await ask('/state.json', 'GET', outside)).toEqual([403, expect.stringContaining('mesh diagnostics')]);
  expect(await ask('/log-level?value=debug&seconds=9', 'PUT', outside)).toEqual([403, expect.any(String)]);
  expect(await ask('/ready', 'GET', outside)).toEqual([200, 'ready\n']);
  expect(applied).toEqual([]);
});

test.each([
  ['GET', '/log-level?value=debug&seconds=9', 405],
  ['PUT', '/log-level?value=loud&seconds=9', 400],
  ['PUT', '/log-level?value=debug', 400],
  ['PUT', '/log-level?value=debug&seconds=0', 400],
  ['PUT', '/log-level?value=debug&seconds=99999', 400],
  ['PUT', '/constructor?value=debug&seconds=9', 404],
  ['GET', '//', 404],
])('%s %s is answered %i and changes nothing', async (method, path, status) => {
  expect((await ask(path, method))[0]).toBe(status);
  expect(applied).toEqual([]);
});

test('a setting is changed for a time, and then is what it was', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  try {
    level.set('debug', 5_000);
    level.set('debug', 60_000);
    expect(level.state).toEqual({ value: 'debug', until: new Date(Date.now() + 60_000).toISOString() });
    vi.advanceTimersByTime(59_999);
    expect(applied).toEqual(['debug', 'debug']);
    vi.advanceTimersByTime(1);
    expect(applied).toEqual(['debug', 'debug', 'info']);
    expect(level.state).toEqual({ value: 'info', until: null });
  } finally {
    vi.useRealTimers();
  }
  expect(await ask('/log-level?value=debug&seconds=9', 'PUT')).toEqual([200, 'debug\n']);
  expect(level.state.value).toBe('debug');
});
