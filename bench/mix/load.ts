/** Runs in the client's pod: `load.ts HOST`. Writes MixCounts as a line of JSON every few seconds, until its input ends. */
import { setTimeout as wait } from 'node:timers/promises';
import { actors } from './actors.ts';
import type { MixCounts } from './target.ts';

const tellMs = 2_000;
const target = { host: process.argv[2]! };
const counts: MixCounts = Object.fromEntries(actors.map(({ name }) => [name, { done: 0, failed: 0 }]));

for (const { name, count, pause, make } of actors)
  for (let index = 0; index < count; index++) {
    const act = make(target);
    void (async () => {
      for (;;) {
        const own = counts[name]!;
        try {
          await act();
          own.done++;
        } catch (error) {
          own.failed++;
          own.last = (error as Error).message;
        }
        await wait(pause);
      }
    })();
  }
setInterval(() => process.stdout.write(`${JSON.stringify(counts)}\n`), tellMs);
process.stdin.resume().on('end', () => process.exit(0));
