/** Programs in pods that tell how many they hold. */
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';

/** Without change for this long, no more will come. */
const stillMs = 10_000;
const longestMs = 60_000;

/** A program in a pod that prints numbers; ends with its input. */
export class Counter {
  readonly #running;
  last = 0;
  #changed = performance.now();

  constructor(command: string[]) {
    const [first, ...args] = command;
    this.#running = execa(first!, args, { stdin: 'pipe', buffer: false, stderr: 'inherit', reject: false });
    createInterface({ input: this.#running.stdout }).on('line', (line) => {
      if (Number(line) !== this.last) this.#changed = performance.now();
      this.last = Number(line);
    });
  }

  /** Until there are that many, or no more come. */
  async settled(count: number): Promise<void> {
    const deadline = performance.now() + longestMs;
    while (this.last < count && performance.now() < deadline) {
      if (this.last > 0 && performance.now() - this.#changed > stillMs) return;
      await wait(100);
    }
  }

  async end(): Promise<void> {
    this.#running.stdin.end();
    await this.#running;
  }
}
