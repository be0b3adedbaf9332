/**
 * `npm run bench`: load → client proxy → mutual TLS → server proxy → nginx, for this mesh and its peers, in pods of a
 * local mesh of its own. The load is wrk's for HTTP/1.1, h2load's for HTTP/2. Peers take turns within each round, so that drift of the machine hits all alike.
 * Flags: --rounds N (3), --seconds N (5),  --protocol http1|http2|both (both), --connections 8,32,128 (of HTTP/1.1; HTTP/2 has 4), --peers mesh,haproxy,… (all),
 * --json FILE, --write (docs/benchmarks.md); --mix MINUTES: in place of all that, a mixed load and the memory of this mesh's
 * proxies meanwhile.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { ensurePrograms, runtimePrograms } from '../scripts/programs.ts';
import { LocalMesh } from '../test/support/local-mesh.ts';
import type { PodObject } from '../test/support/mesh.ts';
import { h2latencies, h2load } from './h2load.ts';
import { mixTable, runMix } from './mix/run.ts';
import { deploy, type Pair } from './pair.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import { httpProxy } from './peers/http-proxy.ts';
import { mesh as own } from './peers/mesh.ts';
import type { Protocol } from './peers/peer.ts';
import { document, type Run, type Sample, summarize, table } from './report.ts';
import { writeSection } from './section.ts';
import { usage } from './usage.ts';
import { type LoadResult, wrk } from './wrk.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    protocol: { type: 'string', default: 'both' },
    connections: { type: 'string', default: '8,32,128' },
    peers: { type: 'string' },
    json: { type: 'string' },
    mix: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const wrkConnections = values.connections.split(',').map(Number);
const protocols = (['http1', 'http2'] as const).filter((one) => [one, 'both'].includes(values.protocol));
const say = (text: string): void => void process.stderr.write(`${text}\n`);
if (![rounds, seconds, ...wrkConnections].every((number) => Number.isInteger(number) && number > 0)) {
  throw new Error('--rounds, --seconds and --connections take whole numbers above 0');
}
if (protocols.length === 0) throw new Error('--protocol takes http1, http2 or both');

await ensurePrograms({
  ...runtimePrograms,
  wrk: 'wrk',
  nginx: 'nginx-light',
  h2load: 'nghttp2-client',
  openssl: 'openssl',
  curl: 'curl',
});
if (values.mix !== undefined) {
  const minutes = Number(values.mix);
  if (!(minutes >= 1)) throw new Error('--mix takes minutes, at least 1');
  const result = await runMix(minutes, say);
  process.stdout.write(`${mixTable(result)}\n`);
  if (values.json) await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
  process.exit(0);
}
const known = [own, haproxy, envoy, httpProxy];
const wanted = values.peers?.split(',') ?? known.map((peer) => peer.name.toLowerCase());
const stranger = wanted.find((name) => !known.some((peer) => peer.name.toLowerCase() === name));
if (stranger)
  throw new Error(`--peers: "${stranger}" is none of ${known.map((peer) => peer.name.toLowerCase()).join(', ')}`);
const peers = known.filter((peer) => {
  if (!wanted.includes(peer.name.toLowerCase())) return false;
  const missing = peer.missing();
  if (missing) say(`${peer.name} is not here and is left out; to have it: ${missing}`);
  return !missing;
});

const runs: Run[] = [];
for (const protocol of protocols) {
  const connections = protocol === 'http2' ? [4] : wrkConnections;
  const samples = await compare(protocol, connections);
  runs.push({ protocol, summary: summarize(samples, connections), samples });
}
process.stdout.write(`${runs.map((run) => table(run)).join('\n\n')}\n`);
if (values.json) await writeFile(values.json, `${JSON.stringify({ rounds, seconds, runs }, null, 2)}\n`);
if (values.write) {
  await writeSection('pair', document(runs, { rounds, seconds }));
}

/** All peers of a protocol, in a mesh of their own. */
async function compare(protocol: Protocol, connections: number[]): Promise<Sample[]> {
  const samples: Sample[] = [];
  say(`starting a local mesh for ${protocol}`);
  const mesh = await LocalMesh.install();
  try {
    const pairs: Pair[] = [];
    for (const peer of peers) {
      if (peer.protocols.includes(protocol)) pairs.push(await deploy(peer, mesh, protocol));
    }
    for (let round = 1; round <= rounds; round++)
      for (const count of connections)
        for (const pair of pairs) {
          const sample = await measure(mesh, pair, count, protocol);
          samples.push(sample);
          const errors = sample.errors > 0 ? `, ${sample.errors} ERRORS` : '';
          say(
            `round ${round}/${rounds}, ${count} connections, ${sample.peer}: ${Math.round(sample.rate)} requests/s, p99 ${sample.p99_ms} ms${errors}`,
          );
        }
  } finally {
    const left = await mesh.uninstall();
    if (left.length > 0) say(`left behind: ${left.join(', ')}`);
  }
  return samples;
}

async function measure(mesh: LocalMesh, pair: Pair, count: number, protocol: Protocol): Promise<Sample> {
  const { peer, url, client, proxies } = pair;
  const inside = (...command: string[]) => mesh.inside(client as PodObject, ...command);
  const load = (duration: number) =>
    protocol === 'http2' ? h2load(inside, url, count, duration) : wrk(inside, url, count, duration);
  await load(1);
  const before = await Promise.all(proxies.map(usage));
  const result = await load(seconds);
  const after = await Promise.all(proxies.map(usage));
  const latencies = protocol === 'http2' ? await h2latencies(inside, url, count, pair.folder) : undefined;
  const { p50_ms, p99_ms } = { ...result, ...latencies } as LoadResult;
  const sum = (all: typeof after, field: 'cpu' | 'rss' | 'private') =>
    all.reduce((total, one) => total + one[field], 0);
  return {
    peer: peer.name,
    connections: count,
    rate: result.rate,
    p50_ms,
    p99_ms,
    errors: result.errors,
    cpu_us_per_request: ((sum(after, 'cpu') - sum(before, 'cpu')) / result.requests) * 1e6,
    rss_mb: sum(after, 'rss') / proxies.length / 2 ** 20,
    private_mb: sum(after, 'private') / proxies.length / 2 ** 20,
  };
}
