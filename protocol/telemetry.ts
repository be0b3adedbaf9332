/** What a proxy reports every few seconds: what happened since its last report. */
import type { Workload } from './discovery.ts';

/** One series; the key is everything above `requests`. */
export interface TelemetrySeries {
  direction: 'inbound' | 'outbound';
  /** The other end: client of an inbound, server of an outbound series; null where it is not known. */
  peer: Workload | null;
  /** Outbound: the service dialled, `namespace/name`; null for pods and unknown targets. */
  service: string | null;
  /** Where it is not in the mesh: the original destination's address; null otherwise. */
  authority: string | null;
  protocol: 'http' | 'tcp';
  /** Whether the bytes travelled in mutual TLS, and with whom. */
  tls: 'mtls' | 'plain';
  /** Identity of the peer, where it showed one. */
  peerIdentity: string | null;

  /** Requests ended, of them failed (status 5xx, no response, connection lost, a gRPC status that is the server's fault). Zero for tcp. */
  requests: number;
  failures: number;
  /** Requests by status class, e.g. `{"2xx": 10, "5xx": 1, "none": 1}`. */
  statuses: Record<string, number>;
  /** Retries made (outbound). */
  retries: number;
  /** Sparse histogram: request head read to first response byte, microseconds (protocol/histogram.ts). */
  latency: number[];
  /** Connections opened and refused or failed since the last report, and open now. */
  opened: number;
  connectFailures: number;
  open: number;
  /** Bytes from the client to the server, and back. */
  sentBytes: number;
  receivedBytes: number;
}

export interface TelemetryReport {
  /** Grows by one per report of one proxy process; lets the collector drop a repeated report. */
  sequence: number;
  /** When this proxy process started, epoch milliseconds; with the sequence it names a report. */
  started: number;
  /** Time covered, milliseconds. */
  interval: number;
  series: TelemetrySeries[];
}
