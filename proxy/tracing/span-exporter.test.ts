import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { createLogger } from '../log.ts';
import type { FinishedSpan } from './span.ts';
import { SpanExporter } from './span-exporter.ts';

const flag = join(tmpdir(), `mesh-span-exporter-${process.pid}`);
afterEach(() => {
  vi.useRealTimers();
  rmSync(flag, { force: true });
});

/** A thread that fails with its first batch; started again, it takes all. `url`: where it notes that it has failed. */
const program = new URL(
  `data:text/javascript,${encodeURIComponent(`
  import { existsSync, writeFileSync } from 'node:fs';
  import { parentPort, workerData } from 'node:worker_threads';
  parentPort.on('message', () => {
    if (existsSync(workerData.url)) return parentPort.postMessage({});
    writeFileSync(workerData.url, '');
    throw new Error('a defect');
  });
`)}`,
);

test('after a thread that failed, what waited meanwhile is sent, and so is what follows', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const counts = { sent: 0, dropped: 0 };
  const exporter = new SpanExporter({
    ...{ program, url: flag, log: createLogger('error') },
    source: { version: '1', pod: 'web-0', namespace: 'shop', node: '', workload: 'deployment/web' },
    onSent: (spans) => {
      counts.sent += spans;
    },
    onDropped: (spans) => {
      counts.dropped += spans;
    },
  });
  const add = (count: number) => {
    for (let i = 0; i < count; i++) exporter.add({} as FinishedSpan);
  };
  const counted = (sent: number, dropped: number) =>
    vi.waitFor(() => expect(counts).toEqual({ sent, dropped }), { timeout: 10_000 });
  add(512);
  await counted(0, 512);
  // As many as may wait while there is no thread, and one more.
  add(513);
  await counted(0, 513);
  vi.advanceTimersByTime(30_000);
  await counted(512, 513);
  add(512);
  await counted(1_024, 513);
  await exporter.close(5_000);
});
