/** HTTP API of the control plane for the CLI: JSON on the API port, reached by port-forward. */
import type { Workload } from './discovery.ts';

/** `GET /v1/stat?…` with these query parameters. */
export interface StatQuery {
  /** Lower-case singular kind: deployment, statefulset, daemonset, job, cronjob, pod, namespace, service, or `all`. */
  kind: string;
  /** All namespaces where absent. */
  namespace?: string;
  name?: string;
  /** Seconds, 10 to 3600; default 60. */
  window?: number;
  /** `kind/name` or `namespace/kind/name`: outbound view of the rows' traffic to this resource. */
  to?: string;
  /** Outbound view of this resource's traffic to the rows. */
  from?: string;
}

export interface StatRow {
  namespace: string;
  kind: string;
  name: string;
  /** Pods that run, and of them pods with a proxy; null for a service. */
  pods: { meshed: number; total: number } | null;
  /** Pod phase, for pods only. */
  status: string | null;
  /** 0..1; null without requests. */
  success: number | null;
  requests_per_second: number | null;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
  tcp_connections: number | null;
  sent_bytes_per_second: number | null;
  received_bytes_per_second: number | null;
  /** Share of requests that came (or went) in mutual TLS, 0..1; null without traffic. */
  secured: number | null;
}

/** A replica of the control plane that another does not reach. */
export interface UnreachableReplica {
  pod: string;
  reason: string;
}

export interface StatResponse {
  /** RFC 3339, end of the window. */
  time: string;
  window_seconds: number;
  rows: StatRow[];
  /** What proxies tell these may be missing from the figures; older control planes do not say. */
  unreachable_replicas?: UnreachableReplica[];
}

/** `GET /v1/proxies`: proxies connected to this control plane, whichever replica is asked. */
export interface ProxiesResponse {
  proxies: ProxyInfo[];
  /** Whose proxies are missing. */
  unreachable_replicas: UnreachableReplica[];
}

export interface ProxyInfo {
  namespace: string;
  pod: string;
  workload: Workload | null;
  version: string;
  identity: string;
  /** RFC 3339. */
  certificate_expires: string;
  connected_since: string;
}

/** `GET /v1/status`: the control plane about itself, for `check` and `version`. */
export interface ControlStatus {
  version: string;
  /** RFC 3339. */
  time: string;
  started: string;
  trust_domain: string;
  root: { subject: string; not_before: string; not_after: string; sha256: string }[];
  issuer: { not_before: string; not_after: string; issued_by_root: boolean };
  webhook: { not_after: string } | null;
  proxies: number;
  unmeshed: UnmeshedPod[];
  /** What it cannot do at the moment, each with the reason; older control planes do not say. */
  troubles?: string[];
}

/** A pod that should be meshed (annotation) and is not. */
export interface UnmeshedPod {
  namespace: string;
  pod: string;
  workload: Workload;
  reason: string;
  /** Whether it gets a proxy when it is made anew. */
  restart_helps: boolean;
}

/** Any status but 200. */
export interface ApiError {
  code: string;
  message: string;
}
