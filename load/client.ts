/** One connection to the server under load, for either protocol. */

/** `trouble`: why the request failed; undefined where it was answered with 2xx or 3xx. */
export type Done = (trouble: string | undefined) => void;

export interface Client {
  /** Sends one more request; at most `atOnce` are under way. Connects where there is no connection (any more). */
  request(done: Done): void;
  readonly atOnce: number;
  close(): void;
}

export const troubleOf = (status: number): string | undefined =>
  status >= 200 && status < 400 ? undefined : `status ${status}`;

/** The code of a system error, or what the error says. A stream that ended with its connection has that one's error as its cause. */
export function causeOf(error: NodeJS.ErrnoException): string {
  const cause = error.cause instanceof Error ? (error.cause as NodeJS.ErrnoException) : error;
  return cause.code ?? cause.message;
}
