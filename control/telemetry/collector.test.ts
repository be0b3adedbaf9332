import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bucketCount, bucketOf, quantile } from '../../protocol/histogram.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { pod, seriesOf } from '../test-parts.ts';
import { Collector, emptyTotals } from './collector.ts';
import { addPage, counters, noCounts, OpenPage } from './page.ts';
import { checkReport } from './report.ts';
import { stat } from './stat.ts';

const workload = (name: string) => ({ namespace: 'shop', kind: 'deployment', name });
const reporterOf = (name: string) => ({ namespace: 'shop', pod: `${name}-1`, workload: workload(name) });
const reporter = reporterOf('web');

function report(sequence: number, requests: number, failures = 0, interval = 5000, started = 1): TelemetryReport {
  return {
    sequence,
    started,
    interval,
    series: [seriesOf({ requests, failures, latency: [bucketOf(1000), requests] })],
  };
}

function totalsOf(collector: Collector, windowMs: number) {
  const totals = emptyTotals();
  collector.sum(windowMs, () => [totals]);
  return totals;
}

test('a report sent twice counts once, and a new process counts from one again', () => {
  const collector = new Collector(() => 1_000_000);
  expect(collector.add(reporter, report(1, 10, 2))).toBe(true);
  expect(collector.add(reporter, report(1, 10, 2))).toBe(false);
  expect(collector.add(reporter, report(1, 5, 0, 5000, 2))).toBe(true);
  const totals = totalsOf(collector, 60_000);
  expect([totals.requests, totals.failures, totals.secured]).toEqual([15, 2, 15]);
  expect(quantile(totals.latency, 0.99)! / 1000).toBeCloseTo(1, 1);
});

test('reports that a proxy sends again after a reconnect count once, those it could not send count', () => {
  let now = 1_000_000;
  const collector = new Collector(() => now);
  for (const sequence of [1, 2, 3]) collector.add(reporter, report(sequence, 10));
  now += 120_000;
  expect([2, 3, 4, 5].map((sequence) => collector.add(reporter, report(sequence, 10)))).toEqual([
    ...[false, false],
    ...[true, true],
  ]);
  expect(totalsOf(collector, 3_600_000).requests).toBe(50);
});

test('the rate of a steady load is right wherever in a bucket the question falls', () => {
  for (const end of [300_000, 305_000]) {
    let now = 0;
    const collector = new Collector(() => now);
    for (let sequence = 1; now < end; sequence++) {
      now += 5000;
      collector.add(reporter, report(sequence, 500));
    }
    now += 1;
    const rate = totalsOf(collector, 60_000).requests / (collector.coverage(60_000)('shop', 'web-1') / 1000);
    expect(rate).toBeCloseTo(100, 5);
  }
});

test('a young pod is averaged over its own life', () => {
  let now = 1_000_000;
  const collector = new Collector(() => now);
  for (let sequence = 1; sequence <= 4; sequence++) {
    now += 5000;
    collector.add(reporter, report(sequence, 50));
  }
  expect(collector.coverage(60_000)('shop', 'web-1')).toBe(20_000);
});

test('an hour is kept, and what is older is gone', () => {
  let now = 0;
  const collector = new Collector(() => now);
  for (let sequence = 1; now < 2 * 3_600_000; sequence++) {
    now += 10_000;
    collector.add(reporter, report(sequence, 1));
  }
  expect(totalsOf(collector, 3_590_000).requests).toBeGreaterThanOrEqual(359);
  expect(totalsOf(collector, 7_200_000).requests).toBeLessThanOrEqual(361);
});

test('whatever a page is given comes back from it, open and packed, and only what is asked for', () => {
  const value = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 51 }));
  const latency = fc
    .array(fc.tuple(fc.nat(bucketCount - 1), fc.integer({ min: 1, max: 1e6 })), { maxLength: 5 })
    .map((pairs) => new Map(pairs));
  const entry = fc.tuple(
    fc.nat(20),
    fc.array(value, { minLength: counters.length, maxLength: counters.length }),
    latency,
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
      const page = new OpenPage();
      const expected = new Map<number, ReturnType<typeof emptyTotals>>();
      for (const [id, values, histogram] of entries) {
        const numbers = Object.fromEntries(counters.map((name, index) => [name, values[index]!]));
        page.add(id, { ...noCounts(), ...numbers, latency: [...histogram].flat() });
        const totals = expected.get(id) ?? emptyTotals();
        for (const name of counters) totals[name] += numbers[name]!;
        for (const [bucket, count] of histogram) totals.latency[bucket]! += count;
        expected.set(id, totals);
      }
      const asked = [...expected.keys()].filter((_, index) => index % 2 === 0);
      const check = (read: (sumsOf: Parameters<typeof addPage>[1]) => void) => {
        const got = new Map(asked.map((id) => [id, emptyTotals()]));
        read((id) => (got.has(id) ? [got.get(id)!] : undefined));
        for (const id of asked) expect(got.get(id)).toEqual(expected.get(id));
      };
      check((sumsOf) => page.addTo(sumsOf));
      const packed = page.pack();
      check((sumsOf) => addPage(packed, sumsOf));
      expect(page.pack()).toHaveLength(0);
    }),
  );
});

test('a report that was passed on late counts, once', () => {
  const collector = new Collector(() => 1_000_000);
  const accepted = [7, 9, 8, 8, 9, 5, 5, 60, 59, 29, 28, 61].map((sequence) =>
    collector.add(reporter, report(sequence, 1)),
  );
  // 28 is more than 31 before 60: whether it came is not known any more.
  expect(accepted).toEqual([true, true, true, false, false, true, false, true, true, true, false, true]);
  expect(totalsOf(collector, 60_000).requests).toBe(8);
});

test('a pod that is known later counts for its workload from its first report', () => {
  const collector = new Collector(() => 1_000_000);
  collector.add({ ...reporter, workload: { namespace: 'shop', kind: 'pod', name: 'web-1' } }, report(1, 10));
  collector.add(reporter, report(2, 10));
  const kinds = new Set<string>();
  collector.sum(60_000, (series) => {
    kinds.add(series.reporter.workload.kind);
    return [];
  });
  expect([...kinds]).toEqual(['deployment']);
});

test('shapes that nobody has any more make room for others', () => {
  let now = 1_000_000;
  const collector = new Collector(() => now, { series: 3 });
  for (let sequence = 1; sequence <= 50; sequence++) {
    now += 1_000;
    const series = [seriesOf({ authority: `192.0.2.1:${sequence}`, direction: 'outbound', requests: sequence })];
    collector.add(reporter, { sequence, started: 1, interval: 1_000, series });
  }
  expect(collector.size).toBe(3);
  const seen: number[] = [];
  const totals = new Map<number, ReturnType<typeof emptyTotals>>();
  collector.sum(10_000, (series) => {
    seen.push(series.shape.id);
    const own = emptyTotals();
    totals.set(series.id, own);
    return [own];
  });
  expect(Math.max(...seen)).toBeLessThan(5);
  expect([...totals.values()].map((one) => one.requests).sort((a, b) => a - b)).toEqual([48, 49, 50]);
});

test('memory is bounded in series and in bytes: the longest silent, and the oldest, go', () => {
  let now = 1_000_000;
  const collector = new Collector(() => now, { series: 100, bytes: 20_000 });
  const many = Array.from({ length: 500 }, (_, index) => seriesOf({ authority: `192.0.2.1:${index}`, requests: 1 }));
  for (let sequence = 1; sequence <= 200; sequence++) {
    now += 10_000;
    collector.add(reporter, { sequence, started: 1, interval: 10_000, series: many.slice(sequence % 3, 300) });
  }
  expect(collector.size).toBe(100);
  expect(collector.bytes).toBeLessThanOrEqual(20_000);
  expect(collector.bytes).toBeGreaterThan(10_000);
  expect(totalsOf(collector, 30_000).requests).toBeGreaterThan(0);
});

test.each([
  ['a text for a count', { requests: '5' }],
  ['a negative count', { failures: -1 }],
  ['no number', { open: Number.NaN }],
  ['an unknown direction', { direction: 'sideways' }],
  ['a peer without a name', { peer: { namespace: 'shop', kind: 'pod' } }],
  ['a name without end', { service: 'x'.repeat(1000) }],
  ['a histogram of texts', { latency: ['1', '2'] }],
])('%s is no report', (_what, wrong) => {
  const good = report(1, 1);
  expect(() => checkReport(good)).not.toThrow();
  const bad = { ...good, series: [{ ...good.series[0], ...wrong }] } as TelemetryReport;
  expect(() => checkReport(bad)).toThrow(`telemetry: ${Object.keys(wrong)[0]}`);
});

test('a thousand busy workloads are answered, and an hour of them fits in the limit', () => {
  const kube = new FakeKube();
  const names = Array.from({ length: 1000 }, (_, index) => `w${index}`);
  names.forEach((name, index) => {
    const object = pod(`${name}-1`, `10.1.${index >> 8}.${index & 255}`);
    object.metadata.annotations = { 'mesh.dev/workload': `deployment/${name}` };
    kube.put({ group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true }, object);
  });
  const cluster = new Cluster(kube);
  let now = 0;
  const collector = new Collector(() => now);
  // Every workload is called by two others and calls two; a spread of twelve latencies each.
  const latency = Array.from({ length: 12 }, (_, index) => [bucketOf(400 * 1.3 ** index), 1 + (index % 4)]).flat();
  const busy = { requests: 30, latency, sentBytes: 12_000, receivedBytes: 70_000, opened: 1, open: 3 };
  for (let sequence = 1; sequence <= 90; sequence++) {
    now += 10_000;
    names.forEach((name, index) => {
      const series = [1, 2].flatMap((step) => {
        const peer = workload(names[(index + step) % names.length]!);
        return [
          seriesOf({ ...busy, peer }),
          seriesOf({ ...busy, peer, direction: 'outbound', service: `shop/s${step}` }),
        ];
      });
      collector.add(reporterOf(name), { sequence, started: 1, interval: 10_000, series });
    });
  }
  expect(collector.size).toBe(4000);
  const timed = (window: number) => {
    const start = performance.now();
    const { rows } = stat(collector, cluster, { kind: 'deployment', window }, now);
    expect(rows).toHaveLength(1000);
    expect(rows[0]!.requests_per_second).toBeCloseTo(6, 0);
    return performance.now() - start;
  };
  const [minute, quarter] = [timed(60), timed(900)];
  const hour = (collector.bytes * 4) / 2 ** 20;
  process.stdout.write(
    `1,000 workloads: ${hour.toFixed(0)} MiB an hour; stat over 1 min ${minute.toFixed(0)} ms, over 15 min ${quarter.toFixed(0)} ms\n`,
  );
  expect(hour).toBeLessThan(64);
}, 60_000);
