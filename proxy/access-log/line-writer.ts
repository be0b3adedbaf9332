/**
 * Writes lines to a file descriptor in batches, never more than one write at a time and never on the event loop's time:
 * Node writes to a pipe synchronously, and a pipe that nobody reads would stop all traffic. One thread of the pool may
 * wait for the reader; what does not fit meanwhile is dropped and counted.
 */
import { write } from 'node:fs';

const batchBytes = 16 << 10;
const flushMs = 100;
/** A descriptor that another process has made non-blocking is tried again. */
const againMs = 20;
const maxWaiting = 256 << 10;

export class LineWriter {
  readonly #fd: number;
  readonly #onDropped: (lines: number) => void;
  /** Of characters, which are bytes but for names that are not ASCII. */
  #waiting = '';
  #lines = 0;
  #writing = false;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;

  constructor(fd: number, onDropped: (lines: number) => void) {
    this.#fd = fd;
    this.#onDropped = onDropped;
  }

  /** A line with its end. */
  write(line: string): void {
    if (this.#waiting.length + line.length > maxWaiting) return this.#onDropped(1);
    this.#waiting += line;
    this.#lines++;
    if (this.#writing) return;
    if (this.#waiting.length >= batchBytes) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), flushMs).unref();
  }

  /** Resolves when everything is written or dropped, or after so many milliseconds. */
  end(patienceMs: number): Promise<void> {
    if (!this.#writing && this.#waiting === '') return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, patienceMs);
      this.#idle = () => {
        clearTimeout(timer);
        resolve();
      };
      if (!this.#writing) this.#flush();
    });
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting === '') return this.#idle?.();
    const batch = Buffer.from(this.#waiting);
    const lines = this.#lines;
    this.#waiting = '';
    this.#lines = 0;
    this.#writing = true;
    this.#put(batch, 0, lines);
  }

  #put(batch: Buffer, from: number, lines: number): void {
    write(this.#fd, batch, from, batch.length - from, null, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#put(batch, from, lines), againMs).unref();
        return;
      }
      if (!error && from + written < batch.length) return this.#put(batch, from + written, lines);
      // Nobody reads any more, or the disk is full: the traffic goes on.
      if (error) this.#onDropped(lines);
      this.#writing = false;
      this.#flush();
    });
  }
}
