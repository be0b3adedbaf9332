/**
 * `npm run bench:overload`: an application of four workers of 20 ms is asked for twice what it can answer, in pods of a
 * local mesh: through this mesh with load shedding and without, and behind Envoy's adaptive concurrency filter where Envoy
 * is here. Flags: --rounds N (2), --seconds N (15), --write (docs/benchmarks.md).
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { orUsage, parseFlags, wholeNumber } from '../../scripts/flags.ts';
import type { LocalMesh } from '../../test/support/local-mesh.ts';
import { type PodObject, workload } from '../../test/support/mesh.ts';
import { capacity, limited, type Offered, offer } from '../../test/support/overload.ts';
import { envoyBinary, envoyCommand } from '../envoy.ts';
import { markdown } from '../markdown.ts';
import { Ended, onOwnMesh } from '../own-mesh.ts';
import { podOf } from '../pod.ts';
import { circumstances, writeSection } from '../section.ts';
import { median } from '../statistics.ts';
import { adaptiveConfig, envoyPort } from './envoy.ts';

const { values, rounds, seconds } = orUsage('npm run bench:overload -- [--rounds 2] [--seconds 15] [--write]', () => {
  const flags = parseFlags({
    options: {
      rounds: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '15' },
      write: { type: 'boolean', default: false },
    },
  });
  return {
    values: flags,
    rounds: wholeNumber('--rounds', flags.rounds),
    seconds: wholeNumber('--seconds', flags.seconds),
  };
});

interface Way {
  name: string;
  client: PodObject;
  url: string;
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

try {
  const table = render(await onOwnMesh(say, measure));
  process.stdout.write(`${table}\n`);
  if (values.write) {
    const command = `npm run bench:overload -- --write --rounds ${rounds} --seconds ${seconds}`;
    await writeSection('overload', `    ${command}\n\nMeasured ${circumstances()}.\n\n${table}`);
  }
} catch (error) {
  if (!(error instanceof Ended)) throw error;
  process.exit(error.exitCode);
}

async function measure(mesh: LocalMesh): Promise<Map<Way, Offered[]>> {
  const ways = await deploy(mesh);
  const results = new Map<Way, Offered[]>(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++)
    for (const way of ways) {
      const args = [way.url, 'http1', String(capacity / 4), '3', String(2 * capacity), String(seconds)];
      const offered: Offered = JSON.parse(await mesh.exec(way.client, ...offer, ...args));
      say(`${way.name}: ${JSON.stringify(offered)}`);
      results.get(way)!.push(offered);
    }
  return results;
}

/** The application three times, and clients with a proxy and without. */
async function deploy(mesh: LocalMesh): Promise<Way[]> {
  const app = limited('http1');
  const guarded = workload('guarded', app, { port: 8000, settings: { 'load-shedding': 'enabled' } });
  const meshed = [workload('client', ['sleep', 'infinity']), guarded, workload('open', app, { port: 8000 })];
  await mesh.apply(meshed.join('\n---\n'), true);
  const [client] = (await mesh.ready('client')) as [PodObject];
  await Promise.all([mesh.ready('guarded'), mesh.ready('open')]);
  const ways: Way[] = [
    { name: 'mesh, load shedding', client, url: 'http://guarded:8000/' },
    { name: 'mesh, without', client, url: 'http://open:8000/' },
  ];
  if (!envoyBinary()) {
    say('Envoy is not here and is left out; to have it: ENVOY=/path/to/envoy');
    return ways;
  }
  const folder = path.join(mesh.home, 'bench-overload');
  await mkdir(folder, { mode: 0o755 });
  await writeFile(path.join(folder, 'envoy.json'), adaptiveConfig());
  await execa('chmod', ['-R', 'a+rX', mesh.home]);
  await mesh.apply(podOf('envoy', folder, { main: app, proxy: envoyCommand('envoy.json') }), false);
  await mesh.apply(workload('plain', ['sleep', 'infinity']), false);
  const [server] = (await mesh.ready('envoy')) as [PodObject];
  const [plain] = (await mesh.ready('plain')) as [PodObject];
  const url = `http://${server.status.podIP}:${envoyPort}/`;
  await mesh.reaches(plain, url);
  return [...ways, { name: 'Envoy, adaptive concurrency', client: plain, url }];
}

function render(results: ReadonlyMap<Way, readonly Offered[]>): string {
  const rows = [...results].map(([{ name }, all]) => {
    const of = (read: (one: Offered) => number) => median(all.map(read));
    const share = of((one) => one.soon / seconds / capacity);
    const shed = of((one) => one.shed / one.sent);
    return [
      name,
      `${Math.round(share * 100)} %`,
      `${Math.round(shed * 100)} %`,
      of((one) => one.p50).toFixed(0),
      of((one) => one.p99).toFixed(0),
    ];
  });
  return markdown(['way', 'answered within 1 s, of capacity', 'turned away', 'p50 ms', 'p99 ms'], rows, [0]);
}
