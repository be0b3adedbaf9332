/**
 * When which part of a log was written. Programs write straight into their files, without times, so the files' sizes
 * are noted every second; what was written while no daemon ran counts as written when it was first seen.
 */
import { statSync } from 'node:fs';

const period = 1_000;
/** An hour and more; older parts fall together. */
const mostSamples = 4_000;

interface Sample {
  time: number;
  size: number;
}

export class LogClock {
  readonly #samples = new Map<string, Sample[]>();
  readonly #timer: NodeJS.Timeout;

  /** `files` names the logs that are being written now. */
  constructor(files: () => string[]) {
    this.#timer = setInterval(() => this.#note(files()), period).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #note(files: string[]): void {
    const known = new Set(files);
    for (const file of this.#samples.keys()) if (!known.has(file)) this.#samples.delete(file);
    for (const file of files) {
      const found = statSync(file, { throwIfNoEntry: false });
      if (!found) continue;
      const samples = this.#samples.get(file) ?? [];
      this.#samples.set(file, samples);
      const last = samples.at(-1);
      // It was emptied, as when it grew too large.
      if (last && found.size < last.size) samples.length = 0;
      if (last && found.size === last.size) last.time = Date.now();
      else samples.push({ time: Date.now(), size: found.size });
      if (samples.length > mostSamples) samples.splice(0, mostSamples / 10);
    }
  }

  /** Where in a log that begins which was written after a time (milliseconds), to about a second. */
  offsetAt(file: string, time: number): number {
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found) return 0;
    if (found.mtimeMs < time) return found.size;
    const samples = this.#samples.get(file) ?? [];
    return Math.min(found.size, samples.findLast((one) => one.time <= time)?.size ?? 0);
  }
}
