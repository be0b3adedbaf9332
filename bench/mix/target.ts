/** Where a mixed load goes: ports of one service, and of the pod behind it. */
export const mixPorts = { http1: 8080, http2: 8081, opaque: 8082, refused: 8099 };

export interface MixTarget {
  /** Address of the service. */
  host: string;
}

/** What each actor did so far. */
export type MixCounts = Record<string, { done: number; failed: number; last?: string }>;
