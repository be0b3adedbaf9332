/** Telemetry of a pod that has traffic with all its clients and servers all the time. */

import { bucketOf } from '../../protocol/histogram.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';
import { dependenciesOf, type ServiceObjects, type Size } from './world.ts';

const requestsPerSeries = 40;
/** Latencies of one series spread over this many buckets in an interval. */
const bucketsPerSeries = 12;

/** All that stays the same from report to report. */
export function seriesFor(size: Size, services: ServiceObjects[], service: number): TelemetrySeries[] {
  const clients = services.flatMap((_, index) => (dependenciesOf(size, index).includes(service) ? [index] : []));
  const series = (direction: 'inbound' | 'outbound', index: number): TelemetrySeries => {
    const { name, namespace } = services[index]!;
    return {
      direction,
      peer: { namespace, kind: 'deployment', name },
      service: direction === 'outbound' ? `${namespace}/${name}` : null,
      ...{ authority: null, protocol: 'http', tls: 'mtls', retries: 0, connectFailures: 0, opened: 0, open: 2 },
      peerIdentity: `spiffe://cluster.local/ns/${namespace}/sa/${name}`,
      ...{ requests: requestsPerSeries, failures: 1, statuses: { '2xx': requestsPerSeries - 1, '5xx': 1 } },
      ...{ latency: [], sentBytes: requestsPerSeries * 210, receivedBytes: requestsPerSeries * 1800 },
    };
  };
  return [
    ...dependenciesOf(size, service).map((index) => series('outbound', index)),
    ...clients.map((index) => series('inbound', index)),
  ];
}

export function reportOf(
  series: TelemetrySeries[],
  sequence: number,
  started: number,
  interval: number,
): TelemetryReport {
  return { sequence, started, interval, series: series.map((one) => ({ ...one, latency: latencies() })) };
}

/** Some milliseconds each, with a long tail, as services answer. */
function latencies(): number[] {
  const counts = new Map<number, number>();
  for (let left = bucketsPerSeries; left > 0; left--) {
    const bucket = bucketOf(2000 * Math.exp(1.2 * (Math.random() + Math.random() - 1)));
    counts.set(bucket, (counts.get(bucket) ?? 0) + Math.round(requestsPerSeries / bucketsPerSeries));
  }
  return [...counts].sort(([a], [b]) => a - b).flat();
}
