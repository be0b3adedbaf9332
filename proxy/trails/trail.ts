/** What is kept of one request on its way, while the access log or tracing is on. */

export interface Trail {
  /** Epoch milliseconds. */
  startedAt: number;
  requestId: string;
  /** Empty without a trace. */
  traceId: string;
  /** The span to be sent when the request is over; undefined where its trace is not sampled. */
  span: { spanId: string; parentSpanId: string | undefined; traceState: string | undefined } | undefined;
}
