/**
 * What one proxy tells about itself: `GET /state.json` on its admin port. Only the pod's own loopback may ask, which a
 * port-forward reaches: who may read it is decided by Kubernetes' rights. Times are RFC 3339. Lists are bounded; the
 * counts beside them are not.
 */
import type { Protocol, Workload } from './discovery.ts';
import type { TracingSettings } from './tracing.ts';
import type { TrafficPolicy } from './traffic-policy.ts';

export interface ProxyState {
  time: string;
  version: string;
  pod: string;
  namespace: string;
  workload: string;
  started: string;
  /** Why it is not ready; null when it is. */
  not_ready: string | null;
  log_level: SettingState;
  access_log: SettingState;
  /** Lines that nobody read in time. */
  access_log_dropped: number;
  /** null while no collector is named. */
  tracing: (TracingSettings & { spans_sent: number; spans_dropped: number }) | null;
  certificate: CertificateState | null;
  /** Why the last try to get a certificate failed; null after one that did not. */
  certificate_error: string | null;
  trust_roots: { subject: string; not_after: string; sha256: string }[];
  control_plane: ControlState;
  connections: { outbound: number; inbound: number };
  /** HBONE: connections and the streams in them, both ways. */
  tunnels: { outbound: TunnelState[]; outbound_peers: number; inbound: { connections: number; streams: number } };
  targets: TargetState[];
  targets_count: number;
  /** What clients of this pod have spoken to each of its ports, latest first. */
  inbound_ports: InboundPortState[];
  errors: RecentError[];
  memory: { rss_bytes: number; heap_used_bytes: number; external_bytes: number };
}

/** What a proxy's log may be set to, by annotation and while it runs. */
export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export const accessLogFormats = ['json', 'common', 'off'] as const;
/** For which a setting may be changed at most: what is forgotten ends by itself. */
export const maxSettingSeconds = 86_400;

/** A setting that can be changed while the proxy runs, for a time. */
export interface SettingState {
  value: string;
  /** When it is again what it was; null where it lasts. */
  until: string | null;
}

export interface CertificateState {
  identity: string;
  issuer: string;
  not_before: string;
  not_after: string;
}

export interface ControlState {
  connected: boolean;
  /** Since when it is connected, or not; null before the first connection. */
  since: string | null;
  /** Pod and version of the replica it is connected to; null where that does not say. */
  replica: string | null;
  version: string | null;
  /** Why the last connection ended or could not be made. */
  error: string | null;
}

export interface InboundPortState {
  port: number;
  protocol: Protocol;
  declared: boolean;
  /** When last. */
  seen: string;
  /** Requests with the application now, and how many may be at once; null without a limit (load shedding is off, or it has not been met). */
  in_flight: number;
  limit: number | null;
}

export interface TunnelState {
  peer: string;
  identity: string;
  connections: number;
  streams: number;
}

export interface TargetState {
  /** The address that the application dials. */
  address: string;
  kind: 'service' | 'pod' | 'unknown';
  /** `namespace/name`; null for none. */
  service: string | null;
  /** As declared, `detect` otherwise; and what was detected. */
  protocol: Protocol;
  detected: 'http' | 'server-first' | null;
  /** What its Service asks for by annotation; null for nothing. */
  policy: TrafficPolicy | null;
  /** Connections of the application to it now. */
  connections: number;
  endpoints: EndpointState[];
  endpoints_count: number;
}

export interface EndpointState {
  address: string;
  pod: string | null;
  workload: Workload | null;
  /** The identity it must show; null where it has no proxy. */
  identity: string | null;
  /** Peak moving average; it falls without traffic. */
  latency_ms: number;
  pending: number;
  /** Failed connections in a row. */
  failures: number;
  /** When it is tried again; null while it is in use. */
  ejected_until: string | null;
  /** It asked for that itself, by Retry-After. */
  resting: boolean;
}

/** Errors of one code with one peer, counted together. */
export interface RecentError {
  /** The latest. */
  time: string;
  direction: 'inbound' | 'outbound';
  /** A code of docs/errors-proxy.md, or the reason for which a TLS peer was refused. */
  code: string;
  peer: string;
  message: string;
  count: number;
}
