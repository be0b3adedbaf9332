/**
 * The end of a replica, in an order that loses nothing: it says that it is not ready, and serves on until nobody is
 * sent to it any more; then it sends its proxies elsewhere, and stops listening.
 */

/** Endpoints are told to every node within that time. */
const untoldMs = 3_000;
/** What is still open then is cut off. */
const patienceMs = 5_000;

export interface DrainOptions {
  /** Readiness goes first. */
  notReady: () => void;
  /** Whether there is another replica to go to; without one, nothing is gained by waiting. */
  elsewhere: () => boolean;
  /** Sends proxies away and closes listeners; resolves when all is closed. */
  close: () => Promise<void>;
  wait?: (ms: number) => Promise<void>;
}

export async function drain(options: DrainOptions): Promise<void> {
  const { wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)) } = options;
  options.notReady();
  if (options.elsewhere()) await wait(untoldMs);
  await Promise.race([options.close(), wait(patienceMs)]);
}
