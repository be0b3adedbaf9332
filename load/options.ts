/** What a load is asked to be, and what it tells afterwards. */

export interface LoadOptions {
  host: string;
  port: number;
  /** With its query. */
  path: string;
  /** `host` header; where it is not `host:port`. */
  authority?: string;
  /** Prior knowledge; else HTTP/1.1 with keep-alive. */
  http2: boolean;
  connections: number;
  /** Requests per second. */
  rate: number;
  /** Before the load that counts, at its rate and on its connections; what was due then is not counted. */
  warmUpSeconds: number;
  seconds: number;
}

export interface LoadResult {
  /** As many as were due after the warm-up. */
  requests: number;
  /** Those and the warm-up's. */
  sent: number;
  /** Of those, by cause: `status 503`, `ECONNREFUSED`. Their latencies count with the others. */
  errors: Record<string, number>;
  /** From the first due request to the last answer. */
  seconds: number;
  /** Sparse counts of latencies (protocol/histogram.ts). */
  latencies: number[];
}

/** Where a load generator in a pod waits for LoadOptions, `POST /`; on the pod's loopback. */
export const loadPort = 9300;

/**
 * Flags of Node for a load generator: on a busy machine its collector and compiler would take the processor from what it measures. A
 * nursery of 32 MiB lasts for many seconds.
 */
export const loadFlags: readonly string[] = ['--single-threaded-gc', '--max-semi-space-size=32', '--v8-pool-size=1'];

/** Requests at once on one HTTP/2 connection. */
export const streamsPerConnection = 16;
