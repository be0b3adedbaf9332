import { expect, test } from 'vitest';
import { ProxyError } from '../error.ts';
import { RecentErrors } from './recent-errors.ts';

test('errors of one code with one peer are one entry, with the latest message, and the latest comes first', () => {
  let now = 0;
  const errors = new RecentErrors(() => now);
  errors.add('outbound', 'connect-failed', '10.0.0.1:80', 'first');
  now = 1_000;
  errors.failed('inbound', '10.0.0.2:80', new ProxyError('response-lost', 'gone', { source: 'server' }));
  now = 2_000;
  errors.add('outbound', 'connect-failed', '10.0.0.1:80', 'x'.repeat(5_000));
  expect(errors.list()).toEqual([
    {
      time: '1970-01-01T00:00:02.000Z',
      direction: 'outbound',
      code: 'connect-failed',
      peer: '10.0.0.1:80',
      message: 'x'.repeat(300),
      count: 2,
    },
    {
      time: '1970-01-01T00:00:01.000Z',
      direction: 'inbound',
      code: 'response-lost',
      peer: '10.0.0.2:80',
      message: 'gone',
      count: 1,
    },
  ]);
});

test('there is a limit of entries, and what a client does itself is none', () => {
  const errors = new RecentErrors();
  for (let i = 0; i < 1_000; i++) errors.add('outbound', 'connect-failed', `10.0.0.1:${i}`, 'refused');
  errors.failed('outbound', '10.0.0.1:80', new ProxyError('client-gone', 'went away', { source: 'client' }));
  const list = errors.list();
  expect(list.length).toBe(64);
  expect(list[0]!.peer).toBe('10.0.0.1:999');
});
