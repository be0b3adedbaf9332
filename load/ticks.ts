/** A clock finer than Node's timers, which know whole milliseconds only. */
import { Worker } from 'node:worker_threads';

const tickMs = 0.25;
const ticker = `
const { workerData: { shared, tickMs } } = require('node:worker_threads');
const ticks = new Int32Array(shared);
const own = new Int32Array(new SharedArrayBuffer(4));
for (;;) {
  Atomics.wait(own, 0, 0, tickMs);
  Atomics.add(ticks, 0, 1);
  Atomics.notify(ticks, 0);
}`;

/** Calls `onTick` four times a millisecond until it says that all is over. */
export async function tickUntil(onTick: () => boolean): Promise<void> {
  const shared = new SharedArrayBuffer(4);
  const ticks = new Int32Array(shared);
  const worker = new Worker(ticker, { eval: true, workerData: { shared, tickMs } });
  try {
    for (;;) {
      const { value } = Atomics.waitAsync(ticks, 0, Atomics.load(ticks, 0));
      await value;
      if (onTick()) return;
    }
  } finally {
    await worker.terminate();
  }
}
