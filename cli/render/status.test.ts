import { setTimeout as delay } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { fakeTerminal } from '../fake-terminal.ts';
import { SlowStatus, sayIfSlow } from './status.ts';

test('a step that is slow says what it is and what it waits for, each once', async () => {
  const { io, err } = fakeTerminal({ env: { LANG: 'C.UTF-8' }, slowMs: 1 });
  const status = new SlowStatus(io);
  status.begin('Checking that pods are ready');
  await vi.waitFor(() => expect(err()).toBe(' • Checking that pods are ready ...\n'), { timeout: 8_000 });
  status.waiting('web-1 is not');
  status.waiting('web-1 is not');
  status.waiting('web-2 is not');
  status.end();
  expect(err()).toBe(
    [
      ' • Checking that pods are ready ...',
      '   Checking that pods are ready: web-1 is not',
      '   Checking that pods are ready: web-2 is not\n',
    ].join('\n'),
  );
});

test('what it waits for is shown where the step was slow only after it was known', async () => {
  const { io, err } = fakeTerminal({ env: { LANG: 'C.UTF-8' }, slowMs: 1 });
  const status = new SlowStatus(io);
  status.begin('Checking that pods are ready');
  status.waiting('web-1 is not');
  await vi.waitFor(() => expect(err()).toContain('pods are ready: web-1 is not\n'), { timeout: 8_000 });
  status.end();
});

test('a step that is not slow is not shown', async () => {
  const { io, err } = fakeTerminal({ slowMs: 60_000 });
  expect(await sayIfSlow(io, 'Waiting for the API server', delay(5, 'answer'))).toBe('answer');
  expect(err()).toBe('');
});
