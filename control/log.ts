/** Lines of JSON on stderr. Nothing secret is ever given to it. */

const levels = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof levels;

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(levels, text);
}

export interface Log {
  error(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  debug(message: string, fields?: object): void;
}

export function createLog(level: LogLevel, write = (line: string): void => void process.stderr.write(line)): Log {
  const at = (own: LogLevel) => (message: string, fields?: object) => {
    if (levels[own] <= levels[level])
      write(`${JSON.stringify({ time: new Date().toISOString(), level: own, message, ...fields })}\n`);
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
}
