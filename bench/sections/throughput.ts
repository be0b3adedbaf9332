/** As many requests as go through, of one kind: rates, latencies, processor time and memory of each pair. */
import { markdown } from '../markdown.ts';
import type { Pair } from '../pair.ts';
import { median } from '../statistics.ts';
import { usage } from '../usage.ts';
import type { LoadResult } from '../wrk.ts';
import type { Ground, Outcome } from './section.ts';

/** One kind of load. */
export interface Load {
  label: string;
  run(ground: Ground, pair: Pair, seconds: number): Promise<Pick<LoadResult, 'requests' | 'rate' | 'errors'>>;
  /** Where `run` tells none of its own: of another second. */
  latencies?(ground: Ground, pair: Pair): Promise<Pick<LoadResult, 'p50_ms' | 'p99_ms'>>;
}

interface Sample {
  peer: string;
  load: string;
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

interface Summary extends Sample {
  /** Rate of this mesh over the peer's. */
  ratio: number;
}

export async function throughput(ground: Ground, loads: Load[]): Promise<Outcome> {
  const { rounds, pairs, say } = ground;
  const samples: Sample[] = [];
  for (let round = 1; round <= rounds; round++)
    for (const load of loads)
      for (const pair of pairs) {
        const sample = await measure(ground, load, pair);
        samples.push(sample);
        const errors = sample.errors > 0 ? `, ${sample.errors} ERRORS` : '';
        const rate = `${Math.round(sample.rate)} requests/s, p99 ${sample.p99_ms} ms`;
        say(`round ${round}/${rounds}, ${sample.load}, ${sample.peer}: ${rate}${errors}`);
      }
  const summary = summarize(samples);
  return { table: table(summary), data: { summary, samples } };
}

async function measure(ground: Ground, load: Load, pair: Pair): Promise<Sample> {
  await load.run(ground, pair, 1);
  const before = await Promise.all(pair.proxies.map(usage));
  const result = await load.run(ground, pair, ground.seconds);
  const after = await Promise.all(pair.proxies.map(usage));
  const { p50_ms, p99_ms } = { ...result, ...(await load.latencies?.(ground, pair)) } as LoadResult;
  const sum = (all: typeof after, field: 'cpu' | 'rss' | 'private') =>
    all.reduce((total, one) => total + one[field], 0);
  return {
    ...{ peer: pair.peer.name, load: load.label, rate: result.rate, p50_ms, p99_ms, errors: result.errors },
    cpu_us_per_request: ((sum(after, 'cpu') - sum(before, 'cpu')) / result.requests) * 1e6,
    rss_mb: sum(after, 'rss') / pair.proxies.length / 2 ** 20,
    private_mb: sum(after, 'private') / pair.proxies.length / 2 ** 20,
  };
}

function summarize(samples: Sample[]): Summary[] {
  const [loads, peers] = (['load', 'peer'] as const).map((key) => [...new Set(samples.map((sample) => sample[key]))]);
  return loads!.flatMap((load) => {
    const of = (peer: string) => samples.filter((sample) => sample.peer === peer && sample.load === load);
    const own = median(of('mesh').map((sample) => sample.rate));
    return peers!.map((peer) => {
      const some = of(peer);
      const middle = (field: Exclude<keyof Sample, 'peer' | 'load'>) => median(some.map((sample) => sample[field]));
      const rate = middle('rate');
      return {
        ...{ peer, load, rate, ratio: own / rate },
        p50_ms: middle('p50_ms'),
        p99_ms: middle('p99_ms'),
        cpu_us_per_request: middle('cpu_us_per_request'),
        rss_mb: middle('rss_mb'),
        private_mb: middle('private_mb'),
        errors: some.reduce((sum, sample) => sum + sample.errors, 0),
      };
    });
  });
}

function table(summary: Summary[]): string {
  const head = ['load', 'proxy pair', 'requests/s', 'mesh / it', 'p50 ms', 'p99 ms', 'CPU µs/request'];
  const rows = summary.map((row) => [
    row.load,
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
  return markdown([...head, 'RSS MB', 'private MB', 'errors'], rows, [0, 1]);
}
