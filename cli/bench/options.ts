/** The flags of `mesh bench` as numbers, and what each may be. */
import { parseDuration } from '../duration.ts';
import { UsageError } from '../errors.ts';

export interface BenchFlags {
  port?: string;
  path?: string;
  rate: string;
  duration: string;
  connections: string;
  rounds: string;
  replicas: string;
  http2?: boolean;
  wait: string;
}

/** Before each round, not counted: its connections are opened in it. */
export const roundWarmUpSeconds = 1;

export interface BenchOptions {
  /** Requests per second. */
  rate: number;
  /** Of one round, for each of the two. */
  roundSeconds: number;
  rounds: number;
  connections: number;
  replicas: number;
  http2: boolean;
  waitMs: number;
}

/** @throws UsageError naming the flag */
export function wholeNumber(flag: string, text: string, most: number): number {
  const value = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > most)
    throw new UsageError(`${flag} "${text}" is not a whole number from 1 to ${most}`, `Use for example ${flag} 10.`);
  return value;
}

export function parseOptions(flags: BenchFlags): BenchOptions {
  const rounds = wholeNumber('--rounds', flags.rounds, 100);
  const roundSeconds = parseDuration('--duration', flags.duration) / 1000 / rounds;
  if (roundSeconds < 1 || roundSeconds > 3600)
    throw new UsageError(
      `--duration "${flags.duration}" makes rounds of ${roundSeconds.toFixed(1)} s: a round takes 1 s to 1 h`,
      'Use for example --duration 30s --rounds 3.',
    );
  return {
    rounds,
    // A third of ten seconds is shown as it is measured.
    roundSeconds: Number(roundSeconds.toFixed(1)),
    rate: wholeNumber('--rate', flags.rate, 100_000),
    connections: wholeNumber('--connections', flags.connections, 1000),
    replicas: wholeNumber('--replicas', flags.replicas, 50),
    http2: flags.http2 === true,
    waitMs: parseDuration('--wait', flags.wait),
  };
}
