import { expect, test } from 'vitest';
import { addHistogram, bucketCount, quantile } from '../../protocol/histogram.ts';
import type { SeriesKey } from './series.ts';
import { Telemetry } from './telemetry.ts';

const key: SeriesKey = {
  direction: 'outbound',
  peer: { namespace: 'shop', kind: 'deployment', name: 'cart' },
  service: 'shop/cart',
  authority: null,
  protocol: 'http',
  tls: 'mtls',
  peerIdentity: null,
};

function setup() {
  const clock = { now: 1_000_000 };
  return { clock, telemetry: new Telemetry(() => clock.now) };
}

test('a report holds what happened since the last, and nothing where nothing did', () => {
  const { telemetry, clock } = setup();
  const series = telemetry.series(key);
  expect(telemetry.series({ ...key })).toBe(series);
  series.request(200, false, 5, 100, 200);
  series.request(503, true, 50, 10, 20);
  clock.now += 5000;
  const first = telemetry.report();
  expect(first).toMatchObject({ sequence: 1, interval: 5000, started: 1_000_000 });
  expect(first.series).toHaveLength(1);
  expect(first.series[0]).toMatchObject({ ...key, requests: 2, failures: 1, statuses: { '2xx': 1, '5xx': 1 } });
  expect(first.series[0]).toMatchObject({ sentBytes: 110, receivedBytes: 220 });
  series.request(0, true, 9, 1, 0);
  const second = telemetry.report().series[0]!;
  expect(second).toMatchObject({ requests: 1, statuses: { none: 1 }, sentBytes: 1 });
  const counts = new Uint32Array(bucketCount);
  addHistogram(counts, second.latency);
  expect(quantile(counts, 1)! / 9000).toBeCloseTo(1, 1);
  expect(second.latency).toHaveLength(2);
  expect(telemetry.report().series).toEqual([]);
});

test('open connections are reported as long as there are any, and once more at zero', () => {
  const { telemetry } = setup();
  const series = telemetry.series({ ...key, protocol: 'tcp' });
  series.connectionOpened();
  expect(telemetry.report().series[0]).toMatchObject({ opened: 1, open: 1 });
  expect(telemetry.report().series[0]).toMatchObject({ opened: 0, open: 1 });
  series.connectionClosed();
  expect(telemetry.report().series[0]).toMatchObject({ open: 0 });
  expect(telemetry.report().series).toEqual([]);
});

test('reports are kept until acknowledged, in bounded number', () => {
  const { telemetry } = setup();
  for (let i = 0; i < 3; i++) telemetry.report();
  telemetry.acknowledged(2);
  expect(telemetry.unacknowledged.map((report) => report.sequence)).toEqual([3]);
  for (let i = 0; i < 100; i++) telemetry.report();
  expect(telemetry.unacknowledged).toHaveLength(60);
  expect(telemetry.unacknowledged.at(-1)!.sequence).toBe(103);
});

test('an idle series is dropped, and comes back when one who holds it uses it', () => {
  const { telemetry, clock } = setup();
  const series = telemetry.series(key);
  series.request(200, false, 1, 1, 1);
  telemetry.report();
  clock.now += 11 * 60_000;
  telemetry.report();
  expect([...telemetry.all]).toEqual([]);
  series.request(200, false, 1, 1, 1);
  expect([...telemetry.all]).toEqual([series]);
  expect(telemetry.series(key)).toBe(series);
});

test('a request that revives a series is reported once', () => {
  const { telemetry, clock } = setup();
  const series = telemetry.series(key);
  series.request(200, false, 1, 1, 1);
  telemetry.report();
  clock.now += 11 * 60_000;
  telemetry.report();
  series.request(200, false, 1, 1, 1);
  expect(telemetry.report().series[0]).toMatchObject({ requests: 1, statuses: { '2xx': 1 } });
});

test('beyond the bound, new series fold into one', () => {
  const { telemetry } = setup();
  for (let i = 0; i < 2500; i++) telemetry.series({ ...key, service: `shop/s${i}` }).request(200, false, 1, 1, 1);
  const report = telemetry.report();
  expect(report.series.length).toBeLessThanOrEqual(2001);
  expect(report.series.reduce((sum, one) => sum + one.requests, 0)).toBe(2500);
  expect(report.series.find((one) => one.authority === 'other')!.requests).toBe(500);
});
