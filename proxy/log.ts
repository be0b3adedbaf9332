/** One line per event on stderr: JSON, for people and machines to read. Values are never secret. */
import type { logLevels } from '../protocol/diagnostics.ts';

export type LogLevel = (typeof logLevels)[number];
const levels: Record<LogLevel, number> = { error: 0, warn: 1, info: 2, debug: 3 };

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(levels, text);
}

export type LogFields = Record<string, string | number | boolean | undefined>;

export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  setLevel(level: LogLevel): void;
}

/** Lines of one kind (message and reason) beyond this many a second are counted, not written: a flood must not become one of logs. */
const maxPerSecond = 20;

export function createLogger(
  level: LogLevel,
  write: (line: string) => void = (line) => void process.stderr.write(line),
  now: () => number = Date.now,
): Logger {
  let limit = levels[level];
  const recent = new Map<string, { second: number; count: number; dropped: number }>();
  const log = (at: LogLevel, message: string, fields: LogFields | undefined) => {
    if (levels[at] > limit) return;
    const time = now();
    const second = Math.floor(time / 1000);
    const kind = fields?.reason === undefined ? message : `${message}: ${fields.reason}`;
    let seen = recent.get(kind);
    if (!seen) {
      if (recent.size > 500) recent.clear();
      seen = { second, count: 0, dropped: 0 };
      recent.set(kind, seen);
    }
    if (seen.second !== second) {
      seen.second = second;
      seen.count = 0;
    }
    if (++seen.count > maxPerSecond) {
      seen.dropped++;
      return;
    }
    const suppressed = seen.dropped || undefined;
    seen.dropped = 0;
    write(`${JSON.stringify({ time: new Date(time).toISOString(), level: at, message, ...fields, suppressed })}\n`);
  };
  return {
    error: (message, fields) => log('error', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    info: (message, fields) => log('info', message, fields),
    debug: (message, fields) => log('debug', message, fields),
    setLevel: (next) => {
      limit = levels[next];
    },
  };
}
