/** One connection that is carried as TCP, for its line of the access log. */
import type { Ends, Entry } from '../access-log/entry.ts';
import type { SpliceCounters } from '../net/splice.ts';

/** Counts bytes of this connection, and for the series that they count for as well. */
export class ConnectionTrail implements SpliceCounters {
  readonly #series: SpliceCounters;
  readonly #direction: Entry['direction'];
  readonly #ends: Ends;
  readonly #write: (entry: Entry) => void;
  readonly #time = Date.now();
  readonly #startedAt = performance.now();
  #sent = 0;
  #received = 0;

  constructor(series: SpliceCounters, direction: Entry['direction'], ends: Ends, write: (entry: Entry) => void) {
    this.#series = series;
    this.#direction = direction;
    this.#ends = ends;
    this.#write = write;
  }

  get sentBytes(): number {
    return this.#series.sentBytes;
  }
  set sentBytes(bytes: number) {
    this.#sent += bytes - this.#series.sentBytes;
    this.#series.sentBytes = bytes;
  }

  get receivedBytes(): number {
    return this.#series.receivedBytes;
  }
  set receivedBytes(bytes: number) {
    this.#received += bytes - this.#series.receivedBytes;
    this.#series.receivedBytes = bytes;
  }

  /** It is over; `error` is a code. */
  end(error: string | null): void {
    this.#write({
      direction: this.#direction,
      protocol: 'tcp',
      time: this.#time,
      ...this.#ends,
      requestBytes: this.#sent,
      responseBytes: this.#received,
      durationMs: performance.now() - this.#startedAt,
      error,
    });
  }
}
