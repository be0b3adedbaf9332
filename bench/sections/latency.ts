/** What each pair adds to latency at a rate that all of them carry: half of what Envoy does at most. */
import { execa } from 'execa';
import type { LoadOptions, LoadResult } from '../../load/options.ts';
import { type LoadSummary, summarize } from '../../load/summary.ts';
import { markdown } from '../markdown.ts';
import type { Pair } from '../pair.ts';
import { program } from '../program.ts';
import { wrk } from '../wrk.ts';
import type { Ground, Outcome, Section } from './section.ts';

export const connections = 32;

/** The load generator is a program that has just begun, and so may be the proxies. */
export const warmUpSeconds = 2;

export async function paced(ground: Ground, pair: Pair, rate: number, seconds: number): Promise<LoadResult> {
  const { hostname, port } = new URL(pair.url);
  const options: LoadOptions = {
    ...{ host: hostname, port: Number(port || 80), path: '/', http2: false, connections, rate, warmUpSeconds, seconds },
  };
  const [command, ...args] = ground.inside(pair)(...program('paced-once.ts', JSON.stringify(options)));
  return JSON.parse((await execa(command!, args)).stdout) as LoadResult;
}

/** Requests per second; of the slowest pair where Envoy is not here. */
async function halfOfMost(ground: Ground): Promise<number> {
  const envoy = ground.pairs.filter(({ peer }) => peer.name === 'Envoy');
  const rates: number[] = [];
  for (const pair of envoy.length > 0 ? envoy : ground.pairs) {
    await wrk(ground.inside(pair), pair.url, connections, 1);
    rates.push((await wrk(ground.inside(pair), pair.url, connections, 3)).rate);
  }
  return Math.max(100, Math.round(Math.min(...rates) / 200) * 100);
}

async function run(ground: Ground): Promise<Outcome> {
  const rate = await halfOfMost(ground);
  const all = [ground.direct, ...ground.pairs];
  const results = new Map<Pair, LoadResult[]>(all.map((pair) => [pair, []]));
  for (let round = 1; round <= ground.rounds; round++)
    for (const pair of all) {
      const result = await paced(ground, pair, rate, ground.seconds);
      results.get(pair)!.push(result);
      const { latency, errors } = summarize([result]);
      const said = `p50 ${latency(0.5).toFixed(2)} ms, p99 ${latency(0.99).toFixed(2)} ms${errors > 0 ? `, ${errors} ERRORS` : ''}`;
      ground.say(`round ${round}/${ground.rounds}, ${rate} requests/s, ${pair.peer.name}: ${said}`);
    }
  const summaries = all.map((pair) => ({ name: pair.peer.name, summary: summarize(results.get(pair)!) }));
  const base = summaries[0]!.summary;
  const rows = summaries.map(({ name, summary }) => [
    name,
    summary.rate.toFixed(0),
    ...[0.5, 0.99].flatMap((share) => latencyCells(summary, base, share, name === 'direct')),
    summary.latency(0.999).toFixed(2),
    String(summary.errors),
  ]);
  const head = ['proxy pair', 'requests/s', 'p50 ms', 'adds µs', 'p99 ms', 'adds µs', 'p99.9 ms', 'errors'];
  const data = summaries.map(({ name, summary: { latency, ...counts } }) => ({
    ...{ peer: name, ...counts, p50_ms: latency(0.5), p99_ms: latency(0.99), p99_9_ms: latency(0.999) },
  }));
  return { table: markdown(head, rows, [0]), data: { asked: rate, pairs: data } };
}

function latencyCells(summary: LoadSummary, base: LoadSummary, share: number, isBase: boolean): string[] {
  const added = (summary.latency(share) - base.latency(share)) * 1000;
  return [summary.latency(share).toFixed(2), isBase ? '' : added.toFixed(0)];
}

export const latency: Section = {
  name: 'latency',
  title: 'Added latency',
  about: `HTTP/1.1 at a fixed rate, half of what Envoy carried at most, over ${connections} connections that ${warmUpSeconds} seconds of the same load have opened; each request's latency counts from when it was due. What a pair adds is counted from the same origin without proxies.`,
  protocol: 'http1',
  run,
};
