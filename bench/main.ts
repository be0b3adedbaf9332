/**
 * `npm run bench`: wrk → client proxy → mutual TLS → server proxy → nginx, for this mesh and its peers, in pods of a
 * local mesh of its own. Peers take turns within each round, so that drift of the machine hits all alike.
 * Flags: --rounds N (3), --seconds N (5), --connections 8,32,128, --json FILE, --write (docs/benchmarks.md).
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { ensurePrograms, runtimePrograms } from '../scripts/programs.ts';
import { makeCertificates } from './certificates.ts';
import { envoy } from './peers/envoy.ts';
import { haproxy } from './peers/haproxy.ts';
import { httpProxy } from './peers/http-proxy.ts';
import { mesh } from './peers/mesh.ts';
import { clientPort, originPort, type Peer } from './peers/peer.ts';
import { meshAt, podManifest, podsReady, processes, writeOrigin } from './pods.ts';
import { type Sample, summarize, table } from './report.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '8,32,128' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const connections = values.connections.split(',').map(Number);
const say = (text: string): void => void process.stderr.write(`${text}\n`);

await ensurePrograms({ ...runtimePrograms, wrk: 'wrk', nginx: 'nginx-light', openssl: 'openssl' });
await execa('node', ['scripts/build.ts'], { stdio: 'inherit' });
const peers = [mesh, haproxy, envoy, httpProxy].filter((peer) => {
  const missing = peer.missing();
  if (missing) say(`${peer.name} is not here: ${missing}`);
  return !missing;
});

const home = await mkdtemp(path.join(tmpdir(), 'mesh-bench-'));
const cli = meshAt(home);
const samples: Sample[] = [];
try {
  say('starting a local mesh');
  await cli.cli(['install']);
  await runAll();
} finally {
  await cli.cli(['uninstall', '--yes', '--force']);
  await rm(home, { recursive: true, force: true });
}
const summary = summarize(samples, connections);
process.stdout.write(`${table(summary)}\n`);
if (values.json) await writeFile(values.json, `${JSON.stringify({ rounds, seconds, summary, samples }, null, 2)}\n`);
if (values.write) {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`;
  const text = `# Benchmarks

Written by \`npm run bench -- --write --rounds ${rounds} --seconds ${seconds}\` on ${machine}. Load generator, both proxies and the origin
(nginx, one worker, 35-byte body) share the machine; every peer terminates and originates mutual TLS 1.3 and speaks HTTP/1.1 to
client and origin; each proxy is one process with one thread. Peers take turns within a round; figures are medians over rounds,
ratios are this mesh against the peer within the same run. Memory is one proxy after the load.

${table(summary)}

A Node proxy is larger than the others: most of its resident memory is the Node binary, which all proxies of a machine share; the
private column is what each one adds. Run it on your own machine: absolute figures say little elsewhere.
`;
  await writeFile('docs/benchmarks.md', text);
  say('wrote docs/benchmarks.md');
}

async function runAll(): Promise<void> {
  const kubectl = async (args: string[]) =>
    (await execa('kubectl', ['--kubeconfig', path.join(home, 'state/kubeconfig'), ...args])).stdout;
  await cli.cli(
    ['apply', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench' } }),
  );
  const targets = new Map<Peer, Target>();
  for (const peer of peers) targets.set(peer, await deploy(peer, kubectl));
  for (let round = 0; round < rounds; round++) {
    for (const count of connections) {
      for (const peer of peers) {
        const sample = await load(peer, targets.get(peer)!, count);
        samples.push(sample);
        say(
          `round ${round + 1}/${rounds}, ${count} connections, ${peer.name}: ${Math.round(sample.rate)} requests/s, p99 ${sample.p99_ms} ms${sample.errors ? `, ${sample.errors} ERRORS` : ''}`,
        );
      }
    }
  }
}

interface Target {
  url: string;
  /** A process in the client's pod, to run the load generator beside. */
  pid: number;
  /** Network namespaces of both pods: only their processes are counted. */
  networks: string[];
}

async function deploy(peer: Peer, kubectl: (args: string[]) => Promise<string>): Promise<Target> {
  const name = peer.name.toLowerCase();
  const folder = path.join(home, name);
  await mkdir(folder, { mode: 0o755 });
  await makeCertificates(folder);
  await execa('chmod', ['-R', 'a+rX', home]);
  await writeOrigin(folder, originPort);
  const write = async (serverIp: string) => {
    for (const [file, content] of Object.entries(peer.files(serverIp)))
      await writeFile(path.join(folder, file), content);
  };
  await write('127.0.0.1');
  const marker = `bench-${name}`;
  const up = async (role: string, commands: Record<string, string[]>): Promise<string> => {
    const pod = `${name}-${role}`;
    const manifest = JSON.stringify(podManifest(pod, folder, commands));
    const given = peer === mesh ? await cli.cli(['inject', '-'], manifest) : manifest;
    await cli.cli(['apply', '-f', '-'], given);
    try {
      return (await podsReady(kubectl, [pod]))[pod]!;
    } catch (error) {
      const log = await execa(
        'kubectl',
        [
          '--kubeconfig',
          path.join(home, 'state/kubeconfig'),
          'logs',
          '-n',
          'bench',
          pod,
          '--all-containers',
          '--tail=5',
        ],
        { reject: false },
      );
      throw new Error(`${(error as Error).message}; its log ends:\n${log.stdout}${log.stderr}`);
    }
  };
  const origin = ['nginx', '-e', 'stderr', '-c', '/bench/nginx.conf', '-g', `env BENCH=${marker};`];
  const serverIp = await up('server', { origin, ...(peer.server.length > 0 ? { proxy: peer.server } : {}) });
  await write(serverIp);
  const idle = ['sh', '-c', `: ${marker}; exec sleep 86400.${peers.indexOf(peer)}`];
  await up('client', { idle, ...(peer.client.length > 0 ? { proxy: peer.client } : {}) });
  if (peer === mesh) {
    await cli.cli(
      ['apply', '-f', '-'],
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'origin', namespace: 'bench' },
        spec: { selector: { app: `${name}-server` }, ports: [{ port: 80, targetPort: originPort }] },
      }),
    );
  }
  const sleeper = (await processes(`sleep 86400.${peers.indexOf(peer)}`)).find((one) =>
    one.command.startsWith('sleep'),
  );
  if (!sleeper) throw new Error(`the client pod of ${peer.name} does not run`);
  const address =
    peer === mesh
      ? JSON.parse(await kubectl(['get', 'service', 'origin', '-n', 'bench', '-o', 'json'])).spec.clusterIP
      : `127.0.0.1:${clientPort}`;
  const url = `http://${address}/`;
  await waitFor(sleeper.pid, url, peer.name);
  const nginx = await processes(`env BENCH=${marker}`);
  return { url, pid: sleeper.pid, networks: [sleeper.network, ...nginx.map((one) => one.network)] };
}

async function waitFor(pid: number, url: string, name: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const result = await execa(
      'nsenter',
      ['-t', String(pid), '--net', 'curl', '-sS', '-m', '2', '-o', '/dev/null', '-w', '%{http_code}', url],
      { reject: false },
    );
    if (result.stdout === '200') return;
    if (Date.now() > deadline) throw new Error(`${name} does not answer at ${url}: ${result.stdout} ${result.stderr}`);
  }
}

/** All processes of the pair's proxies: the client's and the server's. */
async function proxies(
  peer: Peer,
  networks: string[],
): Promise<{ cpu: number; rss: number; private: number; count: number }> {
  const text =
    peer === mesh
      ? '/opt/mesh/proxy.js'
      : `/bench/${peer === httpProxy ? 'http-proxy-target' : peer.name.toLowerCase()}`;
  let found = (await processes(peer === httpProxy ? 'http-proxy-pair.ts' : text)).filter(
    (one) => !/^(sh|unshare|nsenter|setpriv)/.test(path.basename(one.command.split(' ', 1)[0]!)),
  );
  if (peer === httpProxy) found = found.filter((one) => /^\S*node /.test(one.command));
  found = found.filter((one) => networks.includes(one.network));
  const sum = (field: 'cpu' | 'rss' | 'private') => found.reduce((total, one) => total + one[field], 0);
  return {
    cpu: sum('cpu'),
    rss: sum('rss') / found.length,
    private: sum('private') / found.length,
    count: found.length,
  };
}

async function load(peer: Peer, target: Target, count: number): Promise<Sample> {
  const wrk = (time: number) =>
    execa('nsenter', [
      '-t',
      String(target.pid),
      '--net',
      'wrk',
      '-t',
      '1',
      '-c',
      String(count),
      '-d',
      `${time}s`,
      '--latency',
      target.url,
    ]);
  await wrk(1);
  const before = await proxies(peer, target.networks);
  const { stdout } = await wrk(seconds);
  const after = await proxies(peer, target.networks);
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  const milliseconds = (label: string) => {
    const match = new RegExp(`${label}\\s+([\\d.]+)(us|ms|s)`).exec(stdout);
    return match
      ? Number((Number(match[1]) * { us: 0.001, ms: 1, s: 1000 }[match[2] as 'us' | 'ms' | 's']).toFixed(3))
      : Number.NaN;
  };
  const requests = number(/(\d+) requests in/);
  const sockets =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1).map(Number) ?? [];
  return {
    peer: peer.name,
    connections: count,
    rate: number(/Requests\/sec:\s+([\d.]+)/),
    p50_ms: milliseconds('50%'),
    p99_ms: milliseconds('99%'),
    cpu_us_per_request: ((after.cpu - before.cpu) / requests) * 1e6,
    rss_mb: after.rss / 2 ** 20,
    private_mb: after.private / 2 ** 20,
    errors: sockets.reduce((a, b) => a + b, 0) + (number(/Non-2xx or 3xx responses: (\d+)/) || 0),
  };
}
