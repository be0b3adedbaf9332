/** From samples to medians, ratios and a table. */

export interface Sample {
  peer: string;
  connections: number;
  /** Requests per second. */
  rate: number;
  p50_ms: number;
  p99_ms: number;
  /** User and system time of both proxies. */
  cpu_us_per_request: number;
  /** Mean of the pair, after the load. */
  rss_mb: number;
  private_mb: number;
  errors: number;
}

export interface Summary extends Sample {
  /** Rate of this mesh over the peer's. */
  ratio: number;
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function summarize(samples: Sample[], connections: number[]): Summary[] {
  const peers = [...new Set(samples.map((sample) => sample.peer))];
  return connections.flatMap((count) => {
    const of = (peer: string) => samples.filter((sample) => sample.peer === peer && sample.connections === count);
    const own = median(of('mesh').map((sample) => sample.rate));
    return peers.map((peer) => {
      const some = of(peer);
      const middle = (field: Exclude<keyof Sample, 'peer'>) => median(some.map((sample) => sample[field]));
      const rate = middle('rate');
      return {
        peer,
        connections: count,
        rate,
        p50_ms: middle('p50_ms'),
        p99_ms: middle('p99_ms'),
        cpu_us_per_request: middle('cpu_us_per_request'),
        rss_mb: middle('rss_mb'),
        private_mb: middle('private_mb'),
        errors: some.reduce((sum, sample) => sum + sample.errors, 0),
        ratio: own / rate,
      };
    });
  });
}

export function table(summary: Summary[]): string {
  const rows = summary.map((row) => [
    String(row.connections),
    row.peer,
    String(Math.round(row.rate)),
    `${row.ratio.toFixed(2)} ×`,
    row.p50_ms.toFixed(2),
    row.p99_ms.toFixed(2),
    row.cpu_us_per_request.toFixed(0),
    row.rss_mb.toFixed(0),
    row.private_mb.toFixed(0),
    String(row.errors),
  ]);
  const head = [
    'connections',
    'proxy pair',
    'requests/s',
    'mesh / it',
    'p50 ms',
    'p99 ms',
    'CPU µs/request',
    'RSS MB',
    'private MB',
    'errors',
  ];
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 1 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}
