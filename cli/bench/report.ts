/** What `mesh bench -o json` prints: docs/bench.md describes it. */

import type { Figures, Used } from './measure.ts';
import type { BenchOptions } from './options.ts';
import type { Mode } from './plan.ts';
import type { Target } from './target.ts';

/** Of the curve: every place where a log scale of what is slower has a tenth of a decade. */
const curve = [0, ...Array.from({ length: 40 }, (_, index) => 100 * (1 - 10 ** (-(index + 1) / 10)))];

export interface ModeReport {
  requests: number;
  errors: number;
  error_causes: Record<string, number>;
  requests_per_second: number;
  p50_ms: number;
  p90_ms: number;
  p99_ms: number;
  p99_9_ms: number;
  max_ms: number;
  latencies: { percent: number; ms: number }[];
  application: Used | null;
  proxies: { client: Used; server: Used } | null;
}

export interface BenchReport {
  namespace: string;
  deployment: string;
  port: number;
  path: string;
  protocol: 'http1' | 'http2';
  rate: number;
  connections: number;
  replicas: number;
  rounds: number;
  round_seconds: number;
  without: ModeReport;
  mesh: ModeReport;
}

export function reportOf(target: Target, options: BenchOptions, figures: Record<Mode, Figures>): BenchReport {
  const { rate, connections, replicas, rounds, roundSeconds, http2 } = options;
  return {
    namespace: target.namespace,
    deployment: target.deployment.metadata.name!,
    port: target.port.port,
    path: target.path,
    protocol: http2 ? 'http2' : 'http1',
    ...{ rate, connections, replicas, rounds, round_seconds: roundSeconds },
    without: modeReport(figures.without),
    mesh: modeReport(figures.mesh),
  };
}

function modeReport({ load, application, proxies }: Figures): ModeReport {
  const ms = (percent: number): number => load.latency(percent / 100);
  return {
    ...{ requests: load.requests, errors: load.errors, error_causes: load.causes, requests_per_second: load.rate },
    ...{ p50_ms: ms(50), p90_ms: ms(90), p99_ms: ms(99), p99_9_ms: ms(99.9), max_ms: ms(100) },
    latencies: curve.map((percent) => ({ percent, ms: ms(percent) })),
    application: application ?? null,
    proxies: proxies ?? null,
  };
}

/** Share of the asked rate below which the server did not keep up. */
const enough = 0.98;

export const saturated = ({ rate }: BenchReport, mode: ModeReport): boolean => mode.requests_per_second < rate * enough;
