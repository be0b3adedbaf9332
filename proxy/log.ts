/** Lines on stderr: time, level, message. Nothing secret is ever given to it. */

export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];

export class Log {
  #level: number;

  constructor(level: LogLevel) {
    this.#level = logLevels.indexOf(level);
  }

  set level(level: LogLevel) {
    this.#level = logLevels.indexOf(level);
  }

  error(message: string): void {
    this.#write(0, message);
  }
  warn(message: string): void {
    this.#write(1, message);
  }
  info(message: string): void {
    this.#write(2, message);
  }
  debug(message: string): void {
    this.#write(3, message);
  }

  #write(level: number, message: string): void {
    if (level > this.#level) return;
    process.stderr.write(`${new Date().toISOString()} ${logLevels[level]} ${message}\n`);
  }
}
