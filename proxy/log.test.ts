import { expect, test } from 'vitest';
import { createLogger } from './log.ts';

test('a flood of one kind is cut and counted, and hides no other reason', () => {
  const lines: Record<string, unknown>[] = [];
  let now = 1_000;
  const log = createLogger(
    'info',
    (line) => void lines.push(JSON.parse(line)),
    () => now,
  );
  for (let i = 0; i < 100; i++) log.warn('refused', { reason: 'expired' });
  log.warn('refused', { reason: 'unknown' });
  log.debug('refused', { reason: 'other' });
  expect(lines).toHaveLength(21);
  expect(lines.at(-1)).toMatchObject({ level: 'warn', reason: 'unknown' });
  now += 1_000;
  log.warn('refused', { reason: 'expired' });
  expect(lines.at(-1)).toMatchObject({ reason: 'expired', suppressed: 80 });
});
