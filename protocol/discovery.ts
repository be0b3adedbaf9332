/**
 * The proxy protocol: one long-lived HTTP/2 stream per proxy, `POST /v1/proxy` on the discovery port over
 * mutual TLS, newline-delimited JSON both ways. The proxy subscribes to the original destinations its
 * application dials; for each the control plane answers with the full state whenever it changes. Messages are
 * idempotent: after a reconnect the proxy sends `hello` and every subscription again.
 */
import type { SpiffeId } from './identity.ts';
import type { TelemetryReport } from './telemetry.ts';
import type { TracingSettings } from './tracing.ts';
import type { TrafficPolicy } from './traffic-policy.ts';

/** An IP address and a port as one text: `10.0.0.1:80` or `[fd00::1]:80`. */
export type Address = string & { readonly brand: 'Address' };

export function formatAddress(ip: string, port: number): Address {
  return (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`) as Address;
}

/** Splits an address; undefined where it is not one. */
export function parseAddress(address: string): { ip: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(address);
  if (!match) return undefined;
  const port = Number(match[3]);
  return port > 65535 ? undefined : { ip: match[1] ?? match[2]!, port };
}

/** `detect` looks at the first bytes; the others are declared by appProtocol or annotation and not looked at. */
export type Protocol = 'detect' | 'http1' | 'http2' | 'opaque';

/** What a peer or target counts for in `stat`. */
export interface Workload {
  namespace: string;
  /** Lower-case singular, e.g. `deployment`, `statefulset`, `daemonset`, `job`, `pod`. */
  kind: string;
  name: string;
}

export interface Endpoint {
  address: Address;
  pod?: string;
  workload?: Workload;
  /** Set where the pod is meshed: dial HBONE and accept this identity only. */
  identity?: SpiffeId;
}

export interface Target {
  /** The original destination subscribed to. */
  address: Address;
  /** `service`: a service's cluster IP and port. `pod`: a pod's own address. `unknown`: dial it as it is. */
  kind: 'service' | 'pod' | 'unknown';
  /** Version of this state; grows with every change within one control plane. */
  version: number;
  protocol: Protocol;
  /** Set for `service`, and for `pod` where one service's endpoint is meant. */
  service?: { namespace: string; name: string; port: number };
  /** Ready endpoints; exactly one for `pod`, none for `unknown`. */
  endpoints: Endpoint[];
  /** What the service asks of its clients' proxies, where it does. */
  policy?: TrafficPolicy;
}

/** Inbound settings of this pod. */
export interface InboundPolicy {
  /** Declared protocol per application port; ports not named are `detect`. */
  ports: Record<string, Protocol>;
  /** Kubernetes' probes of this pod over HTTP and gRPC; absent where there are none. */
  probes?: Probe[];
}

/** A request that tells Kubernetes how the pod is, and is no traffic. */
export interface Probe {
  port: number;
  /** With its query. */
  path: string;
  /** Its User-Agent, where it has one of its own; else it begins with `kube-probe/`. */
  agent?: string;
}

export type ProxyMessage =
  | { type: 'hello'; version: string; pod: string; namespace: string; workload: string }
  | { type: 'subscribe'; address: Address }
  | { type: 'unsubscribe'; address: Address }
  | { type: 'telemetry'; report: TelemetryReport }
  /** It has a new certificate; the stream was opened with one before. RFC 3339. */
  | { type: 'certificate'; not_after: string };

export type ControlMessage =
  /** Which replica this is, and its version. */
  | { type: 'hello'; pod: string; version: string }
  | { type: 'target'; target: Target }
  | { type: 'policy'; policy: InboundPolicy }
  | { type: 'trust-bundle'; pem: string }
  | { type: 'tracing'; tracing: TracingSettings | null }
  /** Telemetry with this sequence number and all before it is stored. */
  | { type: 'telemetry-ack'; sequence: number };

/** A line longer than this ends the stream: neither side buffers without bound. */
export const maxMessageBytes = 4 << 20;
