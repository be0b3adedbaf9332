/** `npm run bench -- --mix MINUTES`: a mixed load through a pair of this mesh's proxies, and how their memory goes meanwhile. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { resources } from '../../kube/resources.ts';
import { proxyContainer } from '../../protocol/names.ts';
import type { LocalMesh } from '../../test/support/local-mesh.ts';
import { type PodObject, until } from '../../test/support/mesh.ts';
import { markdown } from '../markdown.ts';
import { nginxConf, writeFiles } from '../nginx.ts';
import { onOwnMesh } from '../own-mesh.ts';
import { podOf } from '../pod.ts';
import { program } from '../program.ts';
import { usage } from '../usage.ts';
import { type Growth, growth, type MemorySample } from './growth.ts';
import { type MixCounts, mixPorts } from './target.ts';

const sampleMs = 10_000;
/** Heaps and pools find their size first. */
const settleSeconds = 300;

export interface MixResult {
  minutes: number;
  counts: MixCounts;
  /** Of each proxy. */
  samples: Record<'client' | 'server', MemorySample[]>;
  cpu_seconds: number;
}

export function runMix(minutes: number, say: (text: string) => void): Promise<MixResult> {
  return onOwnMesh(say, async (mesh) => {
    const { client, server, host } = await deploy(mesh);
    return load(mesh, client, server, host, minutes, say);
  });
}

async function deploy(mesh: LocalMesh): Promise<{ client: PodObject; server: PodObject; host: string }> {
  const folder = path.join(mesh.home, 'bench-mix');
  await mkdir(folder, { mode: 0o755 });
  await writeFiles(folder);
  const conf = nginxConf([mixPorts.http1, 'http1'], [mixPorts.http2, 'http2']);
  await writeFile(path.join(folder, 'nginx.conf'), conf);
  await execa('chmod', ['-R', 'a+rX', mesh.home]);
  const main = ['nginx', '-e', 'stderr', '-c', '/bench/nginx.conf'];
  await mesh.apply(podOf('mix-server', folder, { main, opaque: program('mix/echo.ts') }), true);
  await mesh.apply(podOf('mix-client', folder, { main: ['sleep', 'infinity'] }), true);
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'mix', namespace: mesh.namespace },
    spec: {
      selector: { app: 'mix-server' },
      ports: Object.entries(mixPorts).map(([name, port]) => ({ name, port })),
    },
  };
  await mesh.client.create(resources.services, service);
  const [[server], [client]] = await Promise.all([mesh.ready('mix-server'), mesh.ready('mix-client')]);
  const host = await mesh.address('mix');
  const get = ['curl', '-s', '-m', '2', '-o', '/dev/null', '-w', '%{http_code}', `http://${host}:${mixPorts.http1}/`];
  await until('the server answers', async () => (await mesh.exec(client!, ...get).catch(() => '')) === '200');
  return { client: client!, server: server!, host };
}

async function load(
  mesh: LocalMesh,
  client: PodObject,
  server: PodObject,
  host: string,
  minutes: number,
  say: (text: string) => void,
): Promise<MixResult> {
  const pids = { client: mesh.pid(client, proxyContainer), server: mesh.pid(server, proxyContainer) };
  const result: MixResult = { minutes, counts: {}, samples: { client: [], server: [] }, cpu_seconds: 0 };
  const [command, ...args] = mesh.inside(client, ...program('mix/load.ts', host));
  // Its errors are shown; it ends when its input does, so when this process does.
  const running = execa(command!, args, { stdin: 'pipe', stderr: 'inherit', buffer: false, reject: false });
  createInterface({ input: running.stdout }).on('line', (line) => {
    result.counts = JSON.parse(line) as MixCounts;
  });
  let ended: number | undefined;
  void running.then(({ exitCode = -1 }) => {
    ended = exitCode;
  });
  const began = performance.now();
  const sample = async (): Promise<void> => {
    const seconds = (performance.now() - began) / 1000;
    result.cpu_seconds = 0;
    for (const side of ['client', 'server'] as const) {
      const { rss, private: own, cpu } = await usage(pids[side]);
      result.samples[side].push({ seconds, rss, private: own });
      result.cpu_seconds += cpu;
    }
  };
  try {
    for (let at = 0; at <= minutes * 60_000; at += sampleMs) {
      await wait(Math.max(0, began + at - performance.now()));
      await sample();
      if (at % 60_000 === 0) say(progress(result));
      if (ended !== undefined) throw new Error(`the load ended with exit code ${ended}`);
    }
  } finally {
    if (ended === undefined) running.stdin.end();
    await running;
  }
  return result;
}

const mb = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MB`;

function totals(counts: MixCounts): { done: number; failed: number } {
  const all = Object.values(counts);
  const sum = (field: 'done' | 'failed') => all.reduce((total, one) => total + one[field], 0);
  return { done: sum('done'), failed: sum('failed') };
}

function progress({ counts, samples }: MixResult): string {
  const { done, failed } = totals(counts);
  const memory = Object.entries(samples).map(([side, all]) => {
    const last = all.at(-1)!;
    return `${side} ${mb(last.rss)} (${mb(last.private)} private)`;
  });
  return `minute ${Math.round(samples.client.at(-1)!.seconds / 60)}: ${done} done, ${failed} failed; ${memory.join(', ')}`;
}

/** A table as Markdown. */
export function mixTable({ minutes, counts, samples, cpu_seconds }: MixResult): string {
  // A shorter run than twice that tells what its second half did.
  const from = Math.min(settleSeconds, minutes * 30);
  const memory = (['client', 'server'] as const).flatMap((side) =>
    (['rss', 'private'] as const).map((field) => {
      const { first_mb, last_mb, max_mb, mb_per_hour }: Growth = growth(samples[side], field, from);
      const cells = [first_mb, last_mb, max_mb].map((value) => value.toFixed(1));
      return [side, field === 'rss' ? 'RSS' : 'private', ...cells, mb_per_hour.toFixed(1)];
    }),
  );
  const { done, failed } = totals(counts);
  const clients = Object.entries(counts).map(([name, { done, failed, last }]) => [
    name,
    String(done),
    String(failed),
    last ?? '',
  ]);
  return `${minutes} minutes of mixed load: ${done} done, ${failed} failed; both proxies took ${cpu_seconds.toFixed(0)} s of processor time.

${markdown(['proxy', 'memory', `MB after ${from} s`, 'at the end', 'most', 'MB per hour'], memory, [0, 1])}

${markdown(['clients', 'done', 'failed', 'last failure'], clients, [0, 3])}`;
}
