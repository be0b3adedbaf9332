/** How long a connection to the control plane may take (`DialOptions`). */
import type { DialOptions } from './dial.ts';

const firstMs = 5_000;

/**
 * `failures`: in a row. A thousand proxies that start at once on a starved machine are all served late: one that always gives
 * up after the same time throws away what the control plane did for it, and has it done again. An address where nothing
 * answers is another matter.
 */
export function controlTimeouts(failures: number): Required<Pick<DialOptions, 'timeoutMs' | 'handshakeTimeoutMs'>> {
  return { timeoutMs: firstMs, handshakeTimeoutMs: firstMs * 2 ** Math.min(failures, 3) };
}
