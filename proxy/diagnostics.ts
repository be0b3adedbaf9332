/** What this proxy tells about itself (protocol/diagnostics.ts), made when it is asked. Nothing in it is secret. */
import { X509Certificate } from 'node:crypto';
import type { CertificateState, EndpointState, ProxyState, TargetState } from '../protocol/diagnostics.ts';
import { pemBlocks } from '../protocol/x509.ts';
import type { EndpointState as Balanced } from './balance/endpoint-state.ts';
import type { TargetStack } from './outbound/target-stack.ts';
import type { Credentials } from './tls/credentials.ts';

/** So that an answer stays small whatever the application dials. */
export const maxTargets = 50;
export const maxPeers = 100;
const maxEndpoints = 50;

/** Node puts the parts of a name on lines of their own. */
const oneLine = (name: string): string => name.replaceAll('\n', ', ');

export function certificateState({ certified }: Credentials): CertificateState | null {
  if (!certified) return null;
  const leaf = new X509Certificate(certified.chain);
  return {
    identity: (leaf.subjectAltName ?? '').replace(/^URI:/, ''),
    issuer: oneLine(leaf.issuer),
    not_before: certified.notBefore.toISOString(),
    not_after: certified.notAfter.toISOString(),
  };
}

export function trustRoots({ trustBundle }: Credentials): ProxyState['trust_roots'] {
  return pemBlocks(trustBundle, 'CERTIFICATE').map((bytes) => {
    const root = new X509Certificate(bytes);
    return {
      subject: oneLine(root.subject),
      not_after: new Date(root.validTo).toISOString(),
      sha256: root.fingerprint256,
    };
  });
}

export function targetState(stack: TargetStack): TargetState {
  const { target, endpoints, connections, protocol } = stack;
  const { service } = target;
  return {
    address: target.address,
    kind: target.kind,
    service: service ? `${service.namespace}/${service.name}` : null,
    protocol,
    detected: stack.serverFirst ? 'server-first' : stack.clientFirst ? 'http' : null,
    policy: target.policy ?? null,
    connections,
    endpoints: endpoints.slice(0, maxEndpoints).map(endpointState),
    endpoints_count: endpoints.length,
  };
}

function endpointState(state: Balanced<unknown>): EndpointState {
  const { endpoint, pending, failures, ejectedUntil, resting } = state;
  const now = performance.now();
  return {
    address: endpoint.address,
    pod: endpoint.pod ?? null,
    workload: endpoint.workload ?? null,
    identity: endpoint.identity ?? null,
    latency_ms: Math.round(state.latency(now) * 1000) / 1000,
    pending,
    failures,
    ejected_until: ejectedUntil > 0 ? new Date(Date.now() + ejectedUntil - now).toISOString() : null,
    resting,
  };
}

export function memoryState(): ProxyState['memory'] {
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss_bytes: rss, heap_used_bytes: heapUsed, external_bytes: external };
}
