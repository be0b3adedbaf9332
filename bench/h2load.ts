/** Runs of h2load inside a pod, and what they printed as numbers. */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { quantile } from './statistics.ts';
import type { LoadResult } from './wrk.ts';

/** Requests at once on each connection. */
export const streams = 16;

/** The command line that runs a program in the pod. */
export type Inside = (...command: string[]) => string[];

async function run(inside: Inside, url: string, connections: number, seconds: number, more: string[]): Promise<string> {
  const flags = ['-t', '1', '-c', String(connections), '-m', String(streams), '-D', String(seconds), ...more];
  const [program, ...args] = inside('h2load', ...flags, url);
  return (await execa(program!, args)).stdout;
}

/** Without latencies: h2load tells those only by a log of each request. */
export async function h2load(
  inside: Inside,
  url: string,
  connections: number,
  seconds: number,
  more: string[] = [],
): Promise<Pick<LoadResult, 'requests' | 'rate' | 'errors'>> {
  const text = await run(inside, url, connections, seconds, more);
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  return {
    requests: number(/requests: (\d+) total/),
    rate: number(/, ([\d.]+) req\/s/),
    errors: number(/ (\d+) failed/) + number(/ (\d+) 4xx/) + number(/ (\d+) 5xx/),
  };
}

/** Of a second's load like that of `h2load`. `folder`: what /bench in the pod is, for a log. */
export async function h2latencies(
  inside: Inside,
  url: string,
  connections: number,
  folder: string,
  more: string[] = [],
): Promise<Pick<LoadResult, 'p50_ms' | 'p99_ms'>> {
  const log = path.join(folder, 'h2load.log');
  await run(inside, url, connections, 1, ['--log-file=/bench/h2load.log', ...more]);
  // Of each request: start in µs, status, duration in µs.
  const lines = (await readFile(log, 'utf8')).trim().split('\n');
  await rm(log);
  const sorted = lines.map((line) => Number(line.split('\t')[2]) / 1000).sort((a, b) => a - b);
  return { p50_ms: quantile(sorted, 0.5), p99_ms: quantile(sorted, 0.99) };
}
