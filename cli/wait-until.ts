/** Waiting for something of the cluster, never in silence. */
import { setTimeout as delay } from 'node:timers/promises';
import type { CliError } from './errors.ts';
import type { Trouble } from './pod-trouble.ts';

const askMs = 200;
/** What is waited for is worked out, and said, this often. */
const sayMs = 2_000;

export interface Wait {
  timeoutMs: number;
  signal: AbortSignal;
  /** Hears what is waited for. */
  waiting(on: string): void;
}

/**
 * Looks until `look` finds nothing left to wait for; what it gives before that is what `trouble` explains.
 * @throws CliError that `late` makes of the last trouble, after the time given
 */
export async function waitUntil<T>(
  { timeoutMs, signal, waiting }: Wait,
  look: () => Promise<{ done: boolean; seen: T }>,
  trouble: (seen: T) => Promise<Trouble>,
  late: (trouble: Trouble) => CliError,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let said = performance.now();
  for (;;) {
    const { done, seen } = await look();
    if (done) return;
    const now = performance.now();
    if (now - said > sayMs || now > deadline) {
      said = now;
      const found = await trouble(seen);
      waiting(found.message);
      if (now > deadline) throw late(found);
    }
    await delay(askMs, undefined, { signal });
  }
}
