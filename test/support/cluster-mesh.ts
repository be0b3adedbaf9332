/** The mesh in the cluster of KUBECONFIG, with a namespace of the test's own. */
import { createInterface } from 'node:readline';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { AgentClient, agentSource } from './agent-client.ts';
import { TestCluster } from './cluster.ts';
import {
  type Application,
  type Gauge,
  nodeCommand,
  type Outside,
  type PodObject,
  type PodSocket,
  type Running,
  TestMesh,
  until,
  workload,
} from './mesh.ts';

/** In a container that shares its pod's process namespace: kills what else runs in it. */
const killer = `
import { readdirSync, readFileSync } from 'node:fs';
const read = (pid, file) => { try { return readFileSync('/proc/' + pid + '/' + file, 'utf8'); } catch { return ''; } };
const own = read('self', 'cgroup');
for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)))
  if (pid !== String(process.pid) && read(pid, 'cgroup') === own) process.kill(Number(pid), 'SIGKILL');`;

/** Prints the resident memory of the first process of its container, kB, again and again. */
const memory = `
import { readFileSync } from 'node:fs';
setInterval(() => console.log(/^VmRSS:\\s+(\\d+)/m.exec(readFileSync('/proc/1/status', 'utf8'))[1]), 50);
process.stdin.resume().on('end', () => process.exit());`;

export class ClusterMesh extends TestMesh {
  readonly namespace: string;
  readonly #cluster: TestCluster;
  readonly #agents = new Map<string, AgentClient>();
  readonly #agentSource: string;

  private constructor(cluster: TestCluster, namespace: string, source: string) {
    super();
    this.#cluster = cluster;
    this.namespace = namespace;
    this.#agentSource = source;
  }

  /** The mesh may be there already. `name`: of the tests, for their namespace. */
  static async install(name: string): Promise<ClusterMesh> {
    const cluster = await TestCluster.connect();
    await cluster.install();
    return new ClusterMesh(cluster, await cluster.namespace(`mesh-test-${name}`), await agentSource());
  }

  get client() {
    return this.#cluster.client;
  }

  /** Leaves the mesh to the next file, and does not wait for the namespace to go. */
  async uninstall(): Promise<string[]> {
    for (const agent of this.#agents.values()) agent.close();
    await this.client.delete(resources.namespaces, this.namespace);
    // No others are made in their place any more, and their programs may not hear that they are to end.
    for (const { metadata } of await this.#cluster.pods(this.namespace))
      await this.client.delete(resources.pods, metadata.name!, this.namespace, { gracePeriodSeconds: 0 });
    this.client.close();
    return [];
  }

  mesh(args: string[], input: string | Uint8Array = ''): Promise<string> {
    return this.#cluster.mesh(args, input.toString());
  }

  start(pod: PodObject, ...command: string[]): Running {
    const { stdin, stdout, ended } = this.#cluster.exec(this.namespace, pod.metadata.name!, 'main', command);
    const output: Buffer[] = [];
    stdout.on('data', (chunk: Buffer) => output.push(chunk));
    return { stdin, stdout, ended: ended.then(() => Buffer.concat(output).toString().replace(/\n$/, '')) };
  }

  dial(pod: PodObject, address: string, port: number): PodSocket {
    return this.#agent(pod).dial(address, port);
  }

  serve(pod: PodObject, port: number, accept: (socket: PodSocket) => void, container?: string): Promise<Application> {
    return this.#agent(pod, container).serve(port, accept);
  }

  /** The pod must have `shareProcessNamespace`: the first process of a namespace can be killed from outside it only. */
  async killProgram(pod: PodObject): Promise<void> {
    const before = await this.#restarts(pod);
    await this.script(pod, killer);
    await until('its next start', async () => (await this.#restarts(pod)) > before, 60);
  }

  async outside(): Promise<Outside> {
    const name = 'outside';
    const manifest = workload(name, ['sleep', 'infinity'], { pod: { hostNetwork: true } });
    await this.apply(manifest, false);
    const [pod] = (await this.ready(name)) as [PodObject];
    return {
      address: pod.status.podIP,
      serve: (accept) => this.serve(pod, 0, accept),
    };
  }

  async watchMemory(pod: PodObject): Promise<Gauge> {
    const running = this.#cluster.exec(this.namespace, pod.metadata.name!, 'mesh-proxy', nodeCommand(memory));
    let last = 0;
    createInterface(running.stdout).on('line', (line) => {
      last = Number(line) / 1024;
    });
    await Promise.race([until('the memory of the proxy', () => last > 0), running.ended]);
    return { last: () => last, stop: () => void running.stdin.end() };
  }

  #agent(pod: PodObject, container = 'main'): AgentClient {
    const key = `${pod.metadata.uid} ${container}`;
    const found = this.#agents.get(key);
    if (found) return found;
    const command = nodeCommand(this.#agentSource);
    const made = new AgentClient(this.#cluster.exec(this.namespace, pod.metadata.name!, container, command));
    this.#agents.set(key, made);
    return made;
  }

  /** Starts after the first, of a container `main` that runs. */
  async #restarts(pod: PodObject): Promise<number> {
    const found = await this.client.get<KubeObject>(resources.pods, pod.metadata.name!, this.namespace);
    const statuses: { name: string; restartCount: number; state: { running?: object } }[] =
      found.status.containerStatuses;
    const main = statuses.find((one) => one.name === 'main')!;
    return main.state.running ? main.restartCount : -1;
  }
}
