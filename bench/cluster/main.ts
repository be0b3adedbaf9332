/**
 * `npm run bench:cluster`: client and server pods without and with the mesh, on the cluster that KUBECONFIG names. Installs
 * the mesh there and takes it away again. MESH_TEST_LOAD is the command that loads an image archive into the cluster (it
 * gets the file as its last argument), for example `kind load image-archive`.
 * Flags: --rounds N (3), --seconds N (5), --connections 8,32,128, --rates 500,2000,5000, --json FILE,
 * --write (docs/benchmarks.md).
 */
import { writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { resources } from '../../kube/resources.ts';
import { controlName, controlNamespace, injectAnnotation } from '../../protocol/names.ts';
import { adminPort, controlAdminPort } from '../../protocol/ports.ts';
import { orUsage, parseFlags, wholeNumber } from '../../scripts/flags.ts';
import { ensurePrograms } from '../../scripts/programs.ts';
import { TestCluster } from '../../test/support/cluster.ts';
import { writeSection } from '../section.ts';
import { benchArchive, writeBenchImage } from './image.ts';
import { Pair, residentOf } from './pods.ts';
import { type Figures, type Memory, pacedConnections, type Run, type Sample, section, table } from './report.ts';

const usage =
  'npm run bench:cluster -- [--rounds 3] [--seconds 5] [--connections 8,32,128] [--rates 500,2000,5000] [--json FILE] [--write]';

const { values, run } = orUsage(usage, () => {
  const flags = parseFlags({
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '5' },
      connections: { type: 'string', default: '8,32,128' },
      rates: { type: 'string', default: '500,2000,5000' },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const list = (name: 'connections' | 'rates') => flags[name].split(',').map((one) => wholeNumber(`--${name}`, one));
  const asked: Run = {
    ...{ rounds: wholeNumber('--rounds', flags.rounds), seconds: wholeNumber('--seconds', flags.seconds) },
    ...{ connections: list('connections'), rates: list('rates') },
  };
  return { values: flags, run: asked };
});
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const checkRuns = 3;

async function prepare(): Promise<void> {
  const { KUBECONFIG: kubeconfig, MESH_TEST_LOAD: load } = process.env;
  if (!kubeconfig)
    throw new Error(`KUBECONFIG is not set: the benchmark needs a cluster that may be changed, and cluster-admin in it. For example:
  kind create cluster --kubeconfig /tmp/kind.config
  KUBECONFIG=/tmp/kind.config MESH_TEST_LOAD='kind load image-archive' npm run bench:cluster`);
  await ensurePrograms({ wrk: 'wrk', nginx: 'nginx-light' });
  await execa('node', ['image/main.ts'], { stdio: 'inherit' });
  await writeBenchImage();
  const archives = ['dist/mesh-image.tar', benchArchive];
  if (!load) say(`MESH_TEST_LOAD is not set: ${archives.join(' and ')} must be in the cluster already`);
  else for (const archive of archives) await execa('sh', ['-c', `${load} ${archive}`], { stdio: 'inherit' });
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

async function measure(cluster: TestCluster): Promise<Figures> {
  say('mesh install');
  const installSeconds = await seconds(() => cluster.install());
  const checkSeconds: number[] = [];
  for (let count = 0; count < checkRuns; count++) checkSeconds.push(await seconds(() => cluster.mesh(['check'])));
  const pairs = [
    { mesh: false, pair: await Pair.deploy(cluster, 'mesh-bench-without', {}) },
    { mesh: true, pair: await Pair.deploy(cluster, 'mesh-bench-with', { [injectAnnotation]: 'enabled' }) },
  ];
  const figures: Figures = { samples: [], memory: [], installSeconds, checkSeconds };
  const add = (sample: Sample): void => {
    figures.samples.push(sample);
    const what = `${sample.connections} connections${sample.pace ? `, ${sample.pace} requests/s asked` : ''}`;
    const errors = sample.errors > 0 ? `, ${sample.errors} ERRORS` : '';
    say(
      `${what}, ${sample.mesh ? 'mesh' : 'without'}: ${sample.rate.toFixed(0)} requests/s, p50 ${sample.p50_ms.toFixed(2)} ms, p99 ${sample.p99_ms.toFixed(2)} ms${errors}`,
    );
  };
  for (let round = 1; round <= run.rounds; round++) {
    say(`round ${round} of ${run.rounds}`);
    for (const connections of run.connections)
      for (const { mesh, pair } of pairs) {
        await pair.wrk(connections, 1);
        const load = pair.wrk(connections, run.seconds);
        if (mesh && connections === Math.max(...run.connections))
          figures.memory.push(await memoryUnderLoad(cluster, pair));
        const { rate, p50_ms, p99_ms, errors } = await load;
        add({ mesh, pace: undefined, connections, rate, p50_ms, p99_ms, errors });
      }
    for (const pace of run.rates)
      for (const { mesh, pair } of pairs) {
        const { rate, errors, latency } = await pair.paced(pace, run.seconds, pacedConnections);
        const [p50_ms, p99_ms] = [latency(0.5), latency(0.99)];
        add({ mesh, pace, connections: pacedConnections, rate, p50_ms, p99_ms, errors });
      }
  }
  return figures;
}

/** Half way through: the load has the other half to go on. */
async function memoryUnderLoad(cluster: TestCluster, { client, server }: Pair): Promise<Memory> {
  await new Promise((resolve) => setTimeout(resolve, run.seconds * 500));
  const [control] = await cluster.pods(controlNamespace, `app.kubernetes.io/name=${controlName}`);
  if (!control) throw new Error(`there is no pod of the control plane in ${controlNamespace}`);
  const [ofClient, ofServer, ofControl] = await Promise.all([
    residentOf(cluster, client, adminPort),
    residentOf(cluster, server, adminPort),
    residentOf(cluster, control, controlAdminPort),
  ]);
  return { client: ofClient, server: ofServer, control: ofControl };
}

async function main(): Promise<void> {
  await prepare();
  const cluster = await TestCluster.connect();
  try {
    if (await cluster.client.find(resources.namespaces, controlNamespace))
      throw new Error(
        `namespace ${controlNamespace} is there: the benchmark measures an install, so take the mesh away first (mesh uninstall)`,
      );
    try {
      const figures = await measure(cluster);
      process.stdout.write(`${table(figures, run)}\n`);
      if (values.json) await writeFile(values.json, `${JSON.stringify({ run, ...figures }, null, 2)}\n`);
      if (values.write) await writeSection('cluster', section(figures, run));
    } finally {
      await cluster.run(['uninstall', '--yes', '--force']);
    }
  } finally {
    await cluster.close();
  }
}

main().catch((error: Error) => {
  process.stderr.write(`bench:cluster: ${error.message}\n`);
  process.exit(1);
});
