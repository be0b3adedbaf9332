import { expect, test } from 'vitest';
import { drain } from './drain.ts';

async function drained(elsewhere: boolean, closes: boolean): Promise<string[]> {
  const steps: string[] = [];
  await drain({
    notReady: () => steps.push('not ready'),
    elsewhere: () => elsewhere,
    close: () => {
      steps.push('close');
      return closes ? Promise.resolve() : new Promise(() => undefined);
    },
    wait: (ms) => {
      steps.push(`wait ${ms}`);
      return closes && steps.includes('close') ? new Promise(() => undefined) : Promise.resolve();
    },
  });
  return steps;
}

test('a replica serves on until nobody is sent to it, and closes then', async () => {
  expect(await drained(true, true)).toEqual(['not ready', 'wait 3000', 'close', 'wait 5000']);
});

test('the only replica closes at once', async () => {
  expect(await drained(false, true)).toEqual(['not ready', 'close', 'wait 5000']);
});

test('what does not close is not waited for without end', async () => {
  expect(await drained(false, false)).toEqual(['not ready', 'close', 'wait 5000']);
});
