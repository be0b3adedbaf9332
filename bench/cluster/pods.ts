/** A client and a server in a namespace of the cluster, and what the client measures. */
import { askPod } from '../../cli/pod-http.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { loadFlags, loadPort, type LoadResult as PacedResult } from '../../load/options.ts';
import { type LoadSummary, summarize } from '../../load/summary.ts';
import { deployment, type TestCluster } from '../../test/support/cluster.ts';
import { until } from '../../test/support/mesh.ts';
import { originPort } from '../peers/peer.ts';
import { type LoadResult, parseWrk } from '../wrk.ts';
import { benchArchive, benchImage, programs } from './image.ts';
import { pacedWarmUpSeconds } from './report.ts';
import type { Load } from './runner.ts';

const readySeconds = 90;
/** For the answer, beyond the time that the load takes. */
const slackMs = 30_000;

export class Pair {
  readonly #cluster: TestCluster;
  readonly client: KubeObject;
  readonly server: KubeObject;
  /** Address of the server's Service. */
  readonly #host: string;

  private constructor(cluster: TestCluster, client: KubeObject, server: KubeObject, host: string) {
    this.#cluster = cluster;
    this.client = client;
    this.server = server;
    this.#host = host;
  }

  static async deploy(cluster: TestCluster, name: string, annotations: Record<string, string>): Promise<Pair> {
    const namespace = await cluster.namespace(name, annotations);
    const container = (command: string[]) => ({
      containers: [{ name: 'main', image: benchImage, imagePullPolicy: 'IfNotPresent', command }],
    });
    const server = container([programs.nginx, '-e', 'stderr', '-c', '/bench/nginx.conf']);
    const client = container([programs.node, '--disable-warning=ExperimentalWarning', ...loadFlags, programs.runner]);
    await cluster.apply(
      ...deployment(namespace, 'server', server, originPort),
      ...deployment(namespace, 'client', client),
    );
    const [clients, servers] = await Promise.all(['client', 'server'].map((app) => ready(cluster, namespace, app)));
    const service = await cluster.client.get(resources.services, 'server', namespace);
    const pair = new Pair(cluster, clients!, servers!, service.spec.clusterIP);
    await until(`the server of ${namespace} answers its client`, async () => {
      const result = await pair.paced(20, 0.5, 1).catch(() => undefined);
      return result?.errors === 0;
    });
    return pair;
  }

  async wrk(connections: number, seconds: number): Promise<LoadResult> {
    const args = [
      '-t',
      '1',
      '-c',
      String(connections),
      '-d',
      `${seconds}s`,
      '--latency',
      `http://${this.#host}:${originPort}/`,
    ];
    const { stdout } = await this.#run<{ stdout: string }>({ wrk: args }, seconds);
    return parseWrk(stdout);
  }

  async paced(rate: number, seconds: number, connections: number): Promise<LoadSummary> {
    const target = { host: this.#host, port: originPort, path: '/', http2: false };
    const load = { paced: { ...target, rate, warmUpSeconds: pacedWarmUpSeconds, seconds, connections } };
    return summarize([await this.#run<PacedResult>(load, pacedWarmUpSeconds + seconds)]);
  }

  async #run<T>(load: Load, seconds: number): Promise<T> {
    const { metadata } = this.client;
    const asked = { path: '/', method: 'POST', body: JSON.stringify(load) } as const;
    const timeoutMs = seconds * 1000 + slackMs;
    const { status, body } = await askPod(this.#cluster.client, metadata, loadPort, asked, timeoutMs);
    const answer = JSON.parse(body) as T & { message?: string };
    if (status !== 200) throw new Error(`the client in ${metadata.namespace} failed: ${answer.message}`);
    return answer;
  }
}

/** @throws Error saying what to do where the image is not in the cluster */
async function ready(cluster: TestCluster, namespace: string, app: string): Promise<KubeObject> {
  try {
    return (await cluster.ready(namespace, app))[0]!;
  } catch (error) {
    const [pod] = await cluster.pods(namespace, `app=${app}`);
    const waiting = pod?.status.containerStatuses?.[0]?.state?.waiting?.reason ?? 'no container yet';
    throw new Error(
      `the pod of ${app} in ${namespace} was not ready within ${readySeconds} s (${waiting}). Its image ${benchImage} must be in the cluster: load ${benchArchive}, or set MESH_TEST_LOAD to the command that loads an archive`,
      { cause: error },
    );
  }
}

/** Resident memory of a process by its own metrics, bytes. */
export async function residentOf(cluster: TestCluster, pod: KubeObject, port: number): Promise<number> {
  const { namespace, name } = pod.metadata as { namespace: string; name: string };
  const found = /^process_resident_memory_bytes (\S+)$/m.exec(await cluster.get(namespace, name, port, '/metrics'));
  if (!found) throw new Error(`${namespace}/${name} tells no process_resident_memory_bytes on port ${port}`);
  return Number(found[1]);
}
