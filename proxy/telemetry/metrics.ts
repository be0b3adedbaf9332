/**
 * `/metrics`: prom-client's text of counters that live in the series; read when scraped, never on the way. Loaded with the
 * first scrape: a proxy that nobody scrapes does not hold prom-client.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { bucketCount, bucketStart } from '../../protocol/histogram.ts';
import { grpcStatusNames } from '../http/grpc.ts';
import type { Gate } from '../inbound/gate.ts';
import type { Credentials } from '../tls/credentials.ts';
import { latencyBounds, type Series, statusClasses } from './series.ts';
import type { Telemetry } from './telemetry.ts';

const peerLabels = ['direction', 'peer_namespace', 'peer_kind', 'peer_name', 'service', 'authority', 'tls'] as const;

export interface Metrics {
  contentType: string;
  text(): Promise<string>;
}

export function createMetrics(telemetry: Telemetry, credentials: Credentials, gates: Iterable<Gate>): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const counter = (name: string, help: string, labels: readonly string[], read: (add: Add) => void) =>
    new Counter({
      name,
      help,
      labelNames: [...labels],
      registers,
      collect() {
        this.reset();
        read((labelValues, value) => this.inc(labelValues, value));
      },
    });
  counter('mesh_requests_total', 'Requests ended.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.key.protocol === 'http') add(labelsOf(one), one.requests);
  });
  counter('mesh_responses_total', 'Requests by status class.', [...peerLabels, 'status'], (add) => {
    for (const one of telemetry.all) {
      one.statuses.forEach((count, i) => {
        if (count > 0) add({ ...labelsOf(one), status: statusClasses[i]! }, count);
      });
    }
  });
  counter('mesh_failures_total', 'Requests that failed by fault of the server.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.key.protocol === 'http') add(labelsOf(one), one.failures);
  });
  counter('mesh_grpc_responses_total', 'gRPC calls by status.', [...peerLabels, 'grpc_status'], (add) => {
    for (const one of telemetry.all) {
      one.grpcStatuses?.forEach((count, i) => {
        if (count > 0) add({ ...labelsOf(one), grpc_status: grpcStatusNames[i]! }, count);
      });
    }
  });
  counter('mesh_retries_total', 'Retries made.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.retries > 0) add(labelsOf(one), one.retries);
  });
  counter('mesh_retry_budget_exhausted_total', 'Retries that the budget did not allow.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.exhausted > 0) add(labelsOf(one), one.exhausted);
  });
  counter('mesh_ejections_total', 'Times that an endpoint was left out for its failures.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.ejections > 0) add(labelsOf(one), one.ejections);
  });
  counter('mesh_connect_failures_total', 'Connections that could not be made.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.connectFailures > 0) add(labelsOf(one), one.connectFailures);
  });
  counter('mesh_tcp_bytes_total', 'Bytes carried.', [...peerLabels, 'flow'], (add) => {
    for (const one of telemetry.all) {
      add({ ...labelsOf(one), flow: 'sent' }, one.sentBytes);
      add({ ...labelsOf(one), flow: 'received' }, one.receivedBytes);
    }
  });
  counter('mesh_tls_refused_total', 'Peers refused, by reason.', ['direction', 'reason'], (add) => {
    for (const direction of ['inbound', 'outbound'] as const)
      for (const [reason, count] of telemetry.tlsRefused[direction]) add({ direction, reason }, count);
  });
  counter('mesh_discovery_fallback_total', 'Connections made without word of the control plane.', [], (add) =>
    add({}, telemetry.discoveryFallbacks),
  );
  counter('mesh_access_log_dropped_total', 'Lines of the access log that nobody read in time.', [], (add) =>
    add({}, telemetry.accessLogDropped),
  );
  counter('mesh_trace_spans_total', 'Spans by what became of them.', ['result'], (add) => {
    add({ result: 'sent' }, telemetry.spansSent);
    add({ result: 'dropped' }, telemetry.spansDropped);
  });
  counter('mesh_inbound_shed_total', 'Requests turned away, since the application is overloaded.', ['port'], (add) => {
    for (const { port, shedder, refused } of gates) add({ port: String(port) }, (shedder?.shed ?? 0) + refused);
  });
  // prom-client's own histogram wants every sample; ours has them counted already.
  counter('mesh_response_latency_seconds_bucket', 'Request to first response byte.', [...peerLabels, 'le'], (add) => {
    for (const one of telemetry.all) {
      if (!one.latency) continue;
      for (const [bound, count] of coarse(one.latency)) add({ ...labelsOf(one), le: bound }, count);
    }
  });
  counter('mesh_response_latency_seconds_sum', 'Seconds in all.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.latency) add(labelsOf(one), one.latencySum);
  });
  counter('mesh_response_latency_seconds_count', 'Responses in all.', peerLabels, (add) => {
    for (const one of telemetry.all) if (one.latency) add(labelsOf(one), one.requests);
  });
  new Gauge({
    name: 'mesh_tcp_open_connections',
    help: 'Connections open now.',
    labelNames: [...peerLabels],
    registers,
    collect() {
      this.reset();
      for (const one of telemetry.all) this.inc(labelsOf(one), one.open);
    },
  });
  new Gauge({
    name: 'mesh_inbound_in_flight',
    help: 'Requests of HTTP that the application has now, up to the end of their responses.',
    labelNames: ['port'],
    registers,
    collect() {
      this.reset();
      for (const { port, inFlight } of gates) this.set({ port: String(port) }, inFlight);
    },
  });
  new Gauge({
    name: 'mesh_inbound_limit',
    help: 'Requests that an overloaded application is let have at once; absent while it is not.',
    labelNames: ['port'],
    registers,
    collect() {
      this.reset();
      for (const { port, shedder } of gates) {
        if (shedder && shedder.limit < Number.POSITIVE_INFINITY) this.set({ port: String(port) }, shedder.limit);
      }
    },
  });
  new Gauge({
    name: 'mesh_certificate_expiry_timestamp_seconds',
    help: "When this proxy's certificate ends.",
    registers,
    collect() {
      if (credentials.certified) this.set(credentials.certified.notAfter.getTime() / 1000);
    },
  });
  return { contentType: registry.contentType, text: () => registry.metrics() };
}

type Add = (labels: Record<string, string>, value: number) => void;

function labelsOf({ key }: Series): Record<string, string> {
  return {
    direction: key.direction,
    peer_namespace: key.peer?.namespace ?? '',
    peer_kind: key.peer?.kind ?? '',
    peer_name: key.peer?.name ?? '',
    service: key.service ?? '',
    authority: key.authority ?? '',
    tls: key.tls,
  };
}

/** Cumulative counts under each exposed bound. */
function coarse(latency: Uint32Array): [string, number][] {
  const bounds: [string, number][] = [];
  let bucket = 0;
  let count = 0;
  for (const bound of latencyBounds) {
    while (bucket < bucketCount && bucketStart(bucket) < bound * 1e6) count += latency[bucket++]!;
    bounds.push([String(bound), count]);
  }
  while (bucket < bucketCount) count += latency[bucket++]!;
  bounds.push(['+Inf', count]);
  return bounds;
}
