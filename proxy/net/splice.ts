/** Carries bytes between two connections, both ways, until both have ended. */
import type { Duplex } from 'node:stream';
import { endTogether, isPlainTcp, writeTogether } from './write-together.ts';

export interface SpliceCounters {
  /** Bytes from a to b, and back. */
  sentBytes: number;
  receivedBytes: number;
}

export const noBytes = (): SpliceCounters => ({ sentBytes: 0, receivedBytes: 0 });

/**
 * Half-closes pass through; an error or an early close of one side resets the other. At most one chunk beyond the
 * writable's high-water mark is held per direction. `done` is called once, with the error if there was one.
 */
export function splice(a: Duplex, b: Duplex, counters: SpliceCounters, done: (error?: Error) => void): void {
  let ended = false;
  const finish = (error?: Error) => {
    if (ended) return;
    ended = true;
    abort(a, error);
    abort(b, error);
    done(error);
  };
  oneWay(a, b, counters, 'sentBytes', finish);
  oneWay(b, a, counters, 'receivedBytes', finish);
}

/** A side that has not ended in order is reset: an orderly end would make what was cut off look whole. */
export function abort(side: Duplex, error: Error | undefined): void {
  if (side.destroyed) return;
  if (side.readableEnded && side.writableFinished) side.destroy();
  else if (isPlainTcp(side)) side.resetAndDestroy();
  else side.destroy(error ?? new Error('the other side closed early'));
}

function oneWay(
  from: Duplex,
  to: Duplex,
  counters: SpliceCounters,
  field: keyof SpliceCounters,
  finish: (error?: Error) => void,
): void {
  from.on('data', (chunk: Buffer) => {
    counters[field] += chunk.length;
    if (!writeTogether(to, chunk, true)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('end', () => {
    endTogether(to);
  });
  from.on('error', finish);
  from.on('close', () => {
    // Both directions ended in order: nothing is lost. Otherwise the other side must learn of it.
    if (from.readableEnded && from.writableFinished) {
      if (to.readableEnded && to.writableFinished) finish();
      else if (to.destroyed) finish();
    } else finish();
  });
  if (from.readableEnded) endTogether(to);
  else from.resume();
}
