import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { letClose } from './leave.ts';

test('the ends of 1,024 connections are waited for at once, and no more', async () => {
  const waiting = Array.from({ length: 1024 }, () => new PassThrough());
  for (const socket of waiting) letClose(socket);
  expect(waiting.filter(({ destroyed }) => destroyed)).toEqual([]);
  const more = new PassThrough();
  letClose(more);
  expect(more.destroyed).toBe(true);
  // One that has gone makes room for another.
  waiting[0]!.destroy();
  await once(waiting[0]!, 'close');
  const next = new PassThrough();
  letClose(next);
  expect(next.destroyed).toBe(false);
  // None is kept for long, whether its peer closes or not.
  await Promise.all([...waiting.slice(1), next].map((socket) => once(socket, 'close')));
});

test('what has ended or is gone is not waited for', async () => {
  const ended = new PassThrough().end();
  ended.resume();
  await once(ended, 'end');
  letClose(ended);
  expect(ended.destroyed).toBe(true);
});
