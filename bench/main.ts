/**
 * `npm run bench`: load → client proxy → mutual TLS → server proxy → nginx, for this mesh and its peers, in pods of a
 * local mesh of its own. Peers take turns within each round, so that drift of the machine hits all alike.
 * Flags: --only http1,http2,bodies,connections,latency,grpc,idle,slow,streams (all), --rounds N (2), --seconds N (4),
 * --connections 8,32,128 (of http1), --peers mesh,haproxy,… (all), --json FILE, --write (docs/benchmarks.md);
 * --mix MINUTES: in place of all that, a mixed load and the memory of this mesh's proxies meanwhile.
 */
import { writeFile } from 'node:fs/promises';
import { chosen, orUsage, parseFlags, wholeNumber } from '../scripts/flags.ts';
import { ensurePrograms, runtimePrograms } from '../scripts/programs.ts';
import type { PodObject } from '../test/support/mesh.ts';
import { mixTable, runMix } from './mix/run.ts';
import { Ended, onOwnMesh } from './own-mesh.ts';
import { deploy, type Pair } from './pair.ts';
import { direct } from './peers/direct.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import { httpProxy } from './peers/http-proxy.ts';
import { mesh as own } from './peers/mesh.ts';
import type { Protocol } from './peers/peer.ts';
import { circumstances, writeSection } from './section.ts';
import { latency } from './sections/latency.ts';
import { bodies, grpc, http1, http2, reconnecting } from './sections/loads.ts';
import { connections as idle, streams } from './sections/memory.ts';
import type { Outcome, Section } from './sections/section.ts';
import { slow } from './sections/slow.ts';

const sections: Section[] = [http1, bodies, reconnecting, latency, idle, slow, http2, grpc, streams];
const known = [own, haproxy, envoy, httpProxy];
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const usage =
  'npm run bench -- [--only NAMES] [--rounds 2] [--seconds 4] [--connections 8,32,128] [--peers NAMES] [--json FILE] [--write] | --mix MINUTES';

const { values, rounds, seconds, connections, minutes, wanted, asked } = orUsage(usage, () => {
  const flags = parseFlags({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '4' },
      connections: { type: 'string', default: '8,32,128' },
      peers: { type: 'string' },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
      mix: { type: 'string' },
    },
  });
  return {
    values: flags,
    rounds: wholeNumber('--rounds', flags.rounds),
    seconds: wholeNumber('--seconds', flags.seconds),
    connections: flags.connections.split(',').map((one) => wholeNumber('--connections', one)),
    minutes: flags.mix === undefined ? undefined : wholeNumber('--mix', flags.mix),
    wanted: chosen('--only', flags.only, sections),
    asked: chosen('--peers', flags.peers, known),
  };
});

const peers = asked.filter((peer) => {
  const missing = peer.missing();
  if (missing) say(`${peer.name} is not here and is left out; to have it: ${missing}`);
  return !missing;
});

await ensurePrograms({
  ...runtimePrograms,
  wrk: 'wrk',
  nginx: 'nginx-light',
  h2load: 'nghttp2-client',
  openssl: 'openssl',
  curl: 'curl',
});
try {
  if (minutes === undefined) await compareAll();
  else await mix(minutes);
} catch (error) {
  if (!(error instanceof Ended)) throw error;
  process.exit(error.exitCode);
}

async function mix(length: number): Promise<void> {
  const result = await runMix(length, say);
  process.stdout.write(`${mixTable(result)}\n`);
  if (values.json) await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
}

async function compareAll(): Promise<void> {
  const outcomes = new Map<Section, Outcome>();
  for (const protocol of ['http1', 'http2'] as const) {
    const some = wanted.filter((section) => section.protocol === protocol);
    const together = some.filter((section) => !section.alone);
    if (together.length > 0) await compare(protocol, together, outcomes);
    for (const section of some.filter(({ alone }) => alone)) await compare(protocol, [section], outcomes);
  }
  for (const [{ title }, { table }] of outcomes) process.stdout.write(`${title}\n\n${table}\n\n`);
  if (values.json) {
    const figures = Object.fromEntries([...outcomes].map(([{ name }, { data }]) => [name, data]));
    await writeFile(values.json, `${JSON.stringify({ rounds, seconds, sections: figures }, null, 2)}\n`);
  }
  if (values.write)
    for (const [{ name, about }, { table }] of outcomes) {
      const command = `npm run bench -- --write --only ${name} --rounds ${rounds} --seconds ${seconds}`;
      await writeSection(`pair-${name}`, `    ${command}\n\n${about} Measured ${circumstances()}.\n\n${table}`);
    }
}

/** All peers of a protocol under some loads, in a mesh of their own. */
async function compare(protocol: Protocol, some: Section[], outcomes: Map<Section, Outcome>): Promise<void> {
  say(`starting a local mesh for ${protocol}`);
  await onOwnMesh(say, async (mesh) => {
    const pairs: Pair[] = [];
    for (const peer of peers) if (peer.protocols.includes(protocol)) pairs.push(await deploy(peer, mesh, protocol));
    const ground = {
      ...{ pairs, direct: await deploy(direct, mesh, protocol), rounds, seconds, connections, say },
      inside:
        (pair: Pair, side: 'client' | 'server' = 'client') =>
        (...command: string[]) =>
          mesh.inside(pair[side] as PodObject, ...command),
    };
    for (const section of some) {
      say(`${section.title}:`);
      outcomes.set(section, await section.run(ground));
    }
  });
}
