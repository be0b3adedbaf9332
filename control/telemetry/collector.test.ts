import { expect, test } from 'vitest';
import { bucketOf, quantile } from '../../protocol/histogram.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';
import { Collector, emptyTotals } from './collector.ts';

const reporter = { namespace: 'shop', pod: 'web-1', workload: { namespace: 'shop', kind: 'deployment', name: 'web' } };

function report(sequence: number, requests: number, failures = 0, interval = 5000, started = 1): TelemetryReport {
  const series: TelemetrySeries = {
    direction: 'inbound',
    peer: null,
    service: null,
    authority: null,
    protocol: 'http',
    tls: 'mtls',
    peerIdentity: null,
    requests,
    failures,
    statuses: {},
    retries: 0,
    latency: [bucketOf(1000), requests],
    opened: 0,
    connectFailures: 0,
    open: 0,
    sentBytes: 0,
    receivedBytes: 0,
  };
  return { sequence, started, interval, series: [series] };
}

function totalsOf(collector: Collector, windowMs: number) {
  const totals = emptyTotals();
  for (const series of collector.since(windowMs)) collector.sum(series, windowMs, totals);
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

test('the rate of a steady load is right wherever in a bucket the question falls', () => {
  for (const end of [300_000, 305_000]) {
    let now = 0;
    const collector = new Collector(() => now);
    for (let sequence = 1; now < end; sequence++) {
      now += 5000;
      collector.add(reporter, report(sequence, 500));
    }
    now += 1;
    const rate = totalsOf(collector, 60_000).requests / (collector.covered('shop', 'web-1', 60_000) / 1000);
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
  expect(collector.covered('shop', 'web-1', 60_000)).toBe(20_000);
});
