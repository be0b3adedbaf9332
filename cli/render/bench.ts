/** The table of `mesh bench`, and bars of its percentiles for a terminal. */
import type { BenchReport, ModeReport } from '../bench/report.ts';
import { renderTable } from './table.ts';

export const milliseconds = (value: number): string =>
  value >= 1000 ? `${(value / 1000).toFixed(2)}s` : `${value.toFixed(value >= 100 ? 0 : 2)}ms`;
const microseconds = (value: number): string => `${Math.round(value)}us`;
const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)}MB`;

const latencies = [
  ['p50', 'p50_ms'],
  ['p90', 'p90_ms'],
  ['p99', 'p99_ms'],
  ['p99.9', 'p99_9_ms'],
  ['max', 'max_ms'],
] as const;

export function renderBench({ without, mesh }: BenchReport): string {
  const row = (name: string, of: (mode: ModeReport) => number | undefined, format: (value: number) => string) => {
    const [first, second] = [of(without), of(mesh)];
    const comparable = first !== undefined && second !== undefined && name !== 'requests';
    const added = comparable ? second - first : undefined;
    const cell = (value: number | undefined): string => (value === undefined ? '' : format(value));
    const sign = added === undefined ? '' : added < 0 ? '-' : '+';
    return [name, cell(first), cell(second), added === undefined ? '' : `${sign}${format(Math.abs(added))}`];
  };
  const count = (value: number): string => String(Math.round(value));
  return renderTable(
    ['FIGURE', 'WITHOUT', 'MESH', 'ADDED'],
    [
      ...latencies.map(([name, field]) => row(name, (mode) => mode[field], milliseconds)),
      row('requests', (mode) => mode.requests, count),
      row('errors', (mode) => mode.errors, count),
      row(
        'requests/s',
        (mode) => mode.requests_per_second,
        (value) => value.toFixed(1),
      ),
      row('application-cpu/request', (mode) => mode.application?.cpu_us_per_request, microseconds),
      row('client-proxy-cpu/request', (mode) => mode.proxies?.client.cpu_us_per_request, microseconds),
      row('server-proxies-cpu/request', (mode) => mode.proxies?.server.cpu_us_per_request, microseconds),
      row('application-memory', (mode) => mode.application?.memory_bytes, megabytes),
      row('client-proxy-memory', (mode) => mode.proxies?.client.memory_bytes, megabytes),
      row('server-proxies-memory', (mode) => mode.proxies?.server.memory_bytes, megabytes),
    ],
  );
}

const barWidth = 50;

/** One bar for each of the two at each percentile, as long as its latency; the longest fills the width. */
export function renderBars({ without, mesh }: BenchReport, unicode: boolean): string {
  const shown = latencies.slice(0, -1);
  const longest = Math.max(...shown.flatMap(([, field]) => [without[field], mesh[field]]));
  const bar = (value: number, mark: string): string =>
    mark.repeat(Math.max(1, Math.round((value / longest) * barWidth)));
  const [light, full] = unicode ? ['░', '█'] : ['-', '#'];
  const lines = shown.flatMap(([name, field]) => [
    `${name.padEnd(6)}without  ${bar(without[field], light!)} ${milliseconds(without[field])}`,
    `${''.padEnd(6)}mesh     ${bar(mesh[field], full!)} ${milliseconds(mesh[field])}`,
  ]);
  return `${lines.join('\n')}\n`;
}
