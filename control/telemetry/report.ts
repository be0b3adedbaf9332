/** Whether a report is one of the protocol: what a proxy sends ends up in sums that everyone reads. */
import type { Workload } from '../../protocol/discovery.ts';
import type { TelemetryReport, TelemetrySeries } from '../../protocol/telemetry.ts';

const maxNameLength = 512;
const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const name = (value: unknown): boolean => typeof value === 'string' && value.length <= maxNameLength;
const orNull = (value: unknown, is: (value: unknown) => boolean): boolean => value === null || is(value);

function workload(value: unknown): boolean {
  const { namespace, kind, name: own } = (value ?? {}) as Partial<Workload>;
  return name(namespace) && name(kind) && name(own);
}

const checks = Object.entries({
  direction: (value) => value === 'inbound' || value === 'outbound',
  peer: (value) => orNull(value, workload),
  service: (value) => orNull(value, name),
  authority: (value) => orNull(value, name),
  protocol: (value) => value === 'http' || value === 'tcp',
  tls: (value) => value === 'mtls' || value === 'plain',
  requests: count,
  failures: count,
  retries: count,
  latency: (value) => Array.isArray(value) && value.every(count),
  opened: count,
  connectFailures: count,
  open: count,
  sentBytes: count,
  receivedBytes: count,
} satisfies { [Field in keyof TelemetrySeries]?: (value: unknown) => boolean });

/** @throws Error naming the field that is wrong */
export function checkReport(report: TelemetryReport): void {
  for (const field of ['sequence', 'started', 'interval'] as const)
    if (!count(report?.[field])) throw new Error(`telemetry: ${field} is not a count`);
  if (!Array.isArray(report.series)) throw new Error('telemetry: series is not a list');
  for (const series of report.series)
    for (const [field, valid] of checks)
      if (!valid((series as unknown as Record<string, unknown> | null)?.[field]))
        throw new Error(`telemetry: ${field} of a series is not what the protocol says`);
}
