/**
 * `npm run bench`: wrk → client proxy → mutual TLS → server proxy → nginx, for this mesh and its peers, in pods of a
 * local mesh of its own. Peers take turns within each round, so that drift of the machine hits all alike.
 * Flags: --rounds N (3), --seconds N (5), --connections 8,32,128, --peers mesh,haproxy,… (all),
 * --json FILE, --write (docs/benchmarks.md).
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { ensurePrograms, runtimePrograms } from '../scripts/programs.ts';
import { LocalMesh } from '../test/support/local-mesh.ts';
import type { PodObject } from '../test/support/mesh.ts';
import { deploy, type Pair } from './pair.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import { httpProxy } from './peers/http-proxy.ts';
import { mesh as own } from './peers/mesh.ts';
import { document, type Sample, summarize, table } from './report.ts';
import { usage } from './usage.ts';
import { wrk } from './wrk.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '8,32,128' },
    peers: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const connections = values.connections.split(',').map(Number);
const say = (text: string): void => void process.stderr.write(`${text}\n`);
if (![rounds, seconds, ...connections].every((number) => Number.isInteger(number) && number > 0)) {
  throw new Error('--rounds, --seconds and --connections take whole numbers above 0');
}

await ensurePrograms({ ...runtimePrograms, wrk: 'wrk', nginx: 'nginx-light', openssl: 'openssl', curl: 'curl' });
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

const samples: Sample[] = [];
say('starting a local mesh');
const mesh = await LocalMesh.install();
try {
  const pairs: Pair[] = [];
  for (const peer of peers) pairs.push(await deploy(peer, mesh));
  for (let round = 1; round <= rounds; round++)
    for (const count of connections)
      for (const pair of pairs) {
        const sample = await measure(pair, count);
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
const summary = summarize(samples, connections);
process.stdout.write(`${table(summary)}\n`);
if (values.json) await writeFile(values.json, `${JSON.stringify({ rounds, seconds, summary, samples }, null, 2)}\n`);
if (values.write) {
  await writeFile('docs/benchmarks.md', document(summary, { rounds, seconds }));
  say('wrote docs/benchmarks.md');
}

async function measure({ peer, url, client, proxies }: Pair, count: number): Promise<Sample> {
  const inside = (...command: string[]) => mesh.inside(client as PodObject, ...command);
  await wrk(inside, url, count, 1);
  const before = await Promise.all(proxies.map(usage));
  const result = await wrk(inside, url, count, seconds);
  const after = await Promise.all(proxies.map(usage));
  const sum = (all: typeof after, field: 'cpu' | 'rss' | 'private') =>
    all.reduce((total, one) => total + one[field], 0);
  const { requests, ...figures } = result;
  return {
    peer: peer.name,
    connections: count,
    ...figures,
    cpu_us_per_request: ((sum(after, 'cpu') - sum(before, 'cpu')) / requests) * 1e6,
    rss_mb: sum(after, 'rss') / proxies.length / 2 ** 20,
    private_mb: sum(after, 'private') / proxies.length / 2 ** 20,
  };
}
