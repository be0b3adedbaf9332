/** One run of wrk inside a pod, and what it printed as numbers. */
import { execa } from 'execa';

export interface LoadResult {
  requests: number;
  /** Requests per second. */
  rate: number;
  p50_ms: number;
  p99_ms: number;
  /** Socket errors and answers other than 2xx and 3xx. */
  errors: number;
}

/** `inside`: the command line that runs a program in the pod. */
export async function wrk(
  inside: (...command: string[]) => string[],
  url: string,
  connections: number,
  seconds: number,
  more: readonly string[] = [],
): Promise<LoadResult> {
  const flags = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--latency', ...more];
  const [program, ...args] = inside('wrk', ...flags, url);
  const { stdout } = await execa(program!, args);
  return parseWrk(stdout);
}

export function parseWrk(stdout: string): LoadResult {
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  const milliseconds = (label: string) => {
    const [, value, unit] = new RegExp(`${label}\\s+([\\d.]+)(us|ms|s)`).exec(stdout) ?? [];
    const factor = { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's'];
    return value ? Number((Number(value) * factor).toFixed(3)) : Number.NaN;
  };
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1);
  return {
    requests: number(/(\d+) requests in/),
    rate: number(/Requests\/sec:\s+([\d.]+)/),
    p50_ms: milliseconds('50%'),
    p99_ms: milliseconds('99%'),
    errors:
      (socketErrors ?? []).reduce((sum, count) => sum + Number(count), 0) +
      (number(/Non-2xx or 3xx responses: (\d+)/) || 0),
  };
}
