/** What one line of the access log tells, of a request or of a connection that is carried as TCP. */
import type { Workload } from '../../protocol/discovery.ts';

export interface End {
  workload: Workload | null;
  /** SPIFFE ID; null where it showed none. */
  identity: string | null;
}

/** Between whom it went. */
export interface Ends {
  client: End;
  /** Of a client without a proxy; null where a tunnel tells who it is, and for the pod's own application. */
  clientAddress: string | null;
  server: End;
  /** Outbound: the service dialled, `namespace/name`. */
  service: string | null;
  /** Address that was dialled at last. */
  endpoint: string | null;
}

export interface Entry extends Ends {
  direction: 'inbound' | 'outbound';
  /** `tcp`: a connection; the fields of requests are not there then. */
  protocol: 'http1' | 'http2' | 'grpc' | 'tcp';
  /** When it began, epoch milliseconds. */
  time: number;
  requestBytes: number;
  responseBytes: number;
  durationMs: number;
  /** Code of docs/errors-proxy.md. */
  error: string | null;
  request?: RequestPart;
}

/** Its texts are what clients say, cut (trails.ts). */
export interface RequestPart {
  method: string;
  authority: string;
  /** Without its query, which may hold secrets. */
  path: string;
  /** 0 where no response came. */
  status: number;
  /** Name, e.g. `NOT_FOUND`; null where it is no gRPC call. */
  grpcStatus: string | null;
  /** null where no response came. */
  firstByteMs: number | null;
  attempts: number;
  requestId: string;
  traceId: string;
}
