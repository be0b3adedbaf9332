import { expect, test } from 'vitest';
import type { BenchReport, ModeReport } from '../bench/report.ts';
import { expectGolden } from '../test-screen.ts';
import { renderBars, renderBench } from './bench.ts';
import { renderSvg } from './bench-svg.ts';

const mode = (factor: number, more: Partial<ModeReport> = {}): ModeReport => {
  const ms = (percent: number) => factor * (1 + Math.min(4, -Math.log10(1 - percent / 100)) ** 3);
  return {
    ...{ requests: 15_000, errors: 0, error_causes: {}, requests_per_second: 499.97 },
    ...{ p50_ms: ms(50), p90_ms: ms(90), p99_ms: ms(99), p99_9_ms: ms(99.9), max_ms: 1234.5 * factor },
    latencies: [0, 50, 90, 99, 99.9, 99.99].map((percent) => ({ percent, ms: ms(percent) })),
    application: { cpu_us_per_request: 120.4, memory_bytes: 31_000_000 },
    proxies: null,
    ...more,
  };
};
const used = { cpu_us_per_request: 55.5, memory_bytes: 52_000_000 };
const report: BenchReport = {
  ...{ namespace: 'shop', deployment: 'web', port: 80, path: '/a?b=1&c=<d>', protocol: 'http1' },
  ...{ rate: 500, connections: 20, replicas: 1, rounds: 3, round_seconds: 10 },
  without: mode(0.4),
  mesh: mode(0.7, { errors: 3, error_causes: { 'status 503': 3 }, proxies: { client: used, server: used } }),
};

test('the table, the bars and the picture', () => {
  const plain = { ...report, without: { ...report.without, application: null } };
  expectGolden('bench/table', renderBench(report));
  expectGolden('bench/table-without-kubelet', renderBench(plain));
  expectGolden('bench/bars', renderBars(report, true));
  expectGolden('bench/bars-ascii', renderBars(report, false));
  expectGolden('bench/picture-svg', renderSvg(report));
});

test('the picture ends where fewer than one request is left', () => {
  const few = { ...report, mesh: { ...report.mesh, requests: 100 } };
  const points = (svg: string) => [...svg.matchAll(/points="([^"]*)"/g)].map(([, list]) => list!.split(' ').length);
  expect(points(renderSvg(report))).toEqual([6, 6]);
  expect(points(renderSvg(few))).toEqual([6, 4]);
});
