/** A finished span as it goes to the thread that exports it: plain values, no object of OpenTelemetry's. */
import type { Workload } from '../../protocol/discovery.ts';

export interface FinishedSpan {
  /** Of the request as an inbound proxy saw it, or an outbound one. */
  kind: 'server' | 'client';
  traceId: string;
  spanId: string;
  /** undefined for the first of a trace. */
  parentSpanId: string | undefined;
  traceState: string | undefined;
  /** Epoch milliseconds. */
  start: number;
  durationMs: number;
  method: string;
  protocol: 'http1' | 'http2' | 'grpc';
  authority: string;
  /** Without its query. */
  path: string;
  /** 0 where no response came. */
  status: number;
  /** -1 where it is no gRPC call, or did not end in a status. */
  grpcStatus: number;
  requestId: string;
  attempts: number;
  /** Code of docs/errors-proxy.md. */
  error: string | undefined;
  /** Address of the other end: the endpoint of a client's span. */
  peer: string | undefined;
  /** Of a client without a proxy. */
  clientAddress: string | undefined;
  peerWorkload: Workload | null;
  peerIdentity: string | null;
  /** `namespace/name`. */
  service: string | null;
}

/** Who sends the spans: the resource of OpenTelemetry. */
export interface SpanSource {
  version: string;
  pod: string;
  namespace: string;
  node: string;
  /** `kind/name` */
  workload: string;
}

/** What the thread is started with. */
export interface ExportSettings {
  /** Where spans are sent: `http://collector:4318/v1/traces`. */
  url: string;
  source: SpanSource;
}

/** The thread's answer to each batch. */
export interface ExportResult {
  /** Why the batch was lost. */
  error?: string;
}
