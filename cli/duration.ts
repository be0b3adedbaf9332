/** Durations of flags. */
import { UsageError } from './errors.ts';

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500ms`, `10s`, `5m`, `1h`, or `0` in milliseconds. @throws UsageError naming the flag */
export function parseDuration(flag: string, text: string): number {
  if (text === '0') return 0;
  const match = /^(\d+)(ms|s|m|h)$/.exec(text);
  if (!match) throw new UsageError(`${flag} "${text}" is not a duration`, 'Use for example 500ms, 30s, 5m or 1h.');
  return Number(match[1]) * units[match[2]!]!;
}

/** `2m`, `30s`, `1500ms`: the shortest way to say it. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds >= 60_000 && milliseconds % 60_000 === 0) return `${milliseconds / 60_000}m`;
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`;
}
