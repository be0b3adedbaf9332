/** A local mesh of a test's own, with what tests ask of it. Needs root. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import type { KubeClient } from '../../kube/client.ts';
import { createConfiguredClient } from '../../kube/configured.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';

const root = join(import.meta.dirname, '../..');

/** Why these tests cannot run here; undefined where they can. */
export const unable = process.getuid?.() === 0 ? undefined : 'needs root: network namespaces';
if (unable) process.stderr.write(`acceptance tests skipped: ${unable}\n`);

export interface PodObject extends KubeObject {
  status: { podIP: string; phase: string; conditions?: { type: string; status: string }[] };
}

/** Asks until the answer is neither undefined nor false. @throws Error naming what did not come */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  seconds = 30,
): Promise<Exclude<NonNullable<T>, false>> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== null && answer !== false) return answer as Exclude<NonNullable<T>, false>;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await wait(20);
  }
}

export class TestMesh {
  readonly home: string;
  readonly client: KubeClient;

  private constructor(home: string, client: KubeClient) {
    this.home = home;
    this.client = client;
  }

  /** `args`: flags of `mesh install`. */
  static async install(...args: string[]): Promise<TestMesh> {
    if (!existsSync(join(root, 'dist/cli.js'))) await execa(process.execPath, [join(root, 'scripts/build.ts')]);
    const home = mkdtempSync(join(tmpdir(), 'mesh-acceptance-'));
    try {
      await execa(join(root, 'bin/mesh'), ['install', ...args], { env: environment(home) });
      const files = [join(home, 'state/kubeconfig')];
      return new TestMesh(home, await createConfiguredClient({ files, timeoutMs: 10_000, local: true }));
    } catch (error) {
      await remove(home);
      throw error;
    }
  }

  /** Takes everything down and names what is left behind: processes, mounts, folders. */
  async uninstall(...flags: string[]): Promise<string[]> {
    this.client.close();
    return remove(this.home, flags);
  }

  /** Runs the CLI against this mesh. */
  async mesh(args: string[], input: string | Uint8Array = ''): Promise<string> {
    return (await execa(join(root, 'bin/mesh'), args, { env: environment(this.home), input })).stdout;
  }

  /** Applies a manifest as it is, or through `mesh inject`. */
  async apply(manifest: string, meshed: boolean): Promise<void> {
    await this.mesh(['apply', '-f', '-'], meshed ? await this.mesh(['inject', '-'], manifest) : manifest);
  }

  async pods(app: string): Promise<PodObject[]> {
    const pods = await this.client.list<PodObject>(resources.pods, {
      namespace: 'default',
      labelSelector: `app=${app}`,
    });
    return pods.filter((pod) => !pod.metadata.deletionTimestamp);
  }

  /** The pods of an app, once that many are ready. */
  ready(app: string, count = 1): Promise<PodObject[]> {
    return until(`${count} ready pods of ${app}`, async () => {
      const pods = (await this.pods(app)).filter((pod) =>
        pod.status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
      );
      return pods.length === count && pods;
    });
  }

  /** The process a container runs, by this machine's count. */
  pid(pod: PodObject, container = 'main'): number {
    const folder = join(this.home, 'run/pods', pod.metadata.uid!, 'containers', container);
    const attempts = readdirSync(folder).filter((name) => /^\d+\.pid$/.test(name));
    const last = Math.max(...attempts.map((name) => Number.parseInt(name, 10)));
    return Number.parseInt(readFileSync(join(folder, `${last}.pid`), 'utf8'), 10);
  }

  /** The command line that runs a program as the container would: its network, mounts and names. */
  inside(pod: PodObject, ...command: string[]): string[] {
    return ['nsenter', '-t', String(this.pid(pod)), '-n', '-m', '-r', '--', ...command];
  }

  /** Runs a program inside a pod and gives its output. @throws the program's failure */
  async exec(pod: PodObject, ...command: string[]): Promise<string> {
    const [program, ...args] = this.inside(pod, ...command);
    return (await execa(program!, args, { timeout: 110_000, env: { HOME: '/' } })).stdout;
  }

  /** Runs a script of this Node inside a pod. */
  script(pod: PodObject, source: string, ...args: string[]): Promise<string> {
    return this.exec(pod, process.execPath, '--input-type=module', '-e', source, ...args);
  }

  /** The address of a Service. */
  async address(service: string): Promise<string> {
    const found = await this.client.get<KubeObject & { spec: { clusterIP: string } }>(
      resources.services,
      service,
      'default',
    );
    return found.spec.clusterIP;
  }

  async log(pod: PodObject, container: string): Promise<string> {
    let text = '';
    for await (const chunk of await this.client.logs('default', pod.metadata.name!, { container })) text += chunk;
    return text;
  }
}

/** A Deployment of one container `main` and, with a port, its Service. */
export function workload(name: string, command: string[], options: { port?: number; replicas?: number } = {}): string {
  const labels = { app: name };
  const { port, replicas = 1 } = options;
  const ports = port ? [{ containerPort: port }] : [];
  const readinessProbe = port ? { tcpSocket: { port }, periodSeconds: 1 } : undefined;
  const spec = { containers: [{ name: 'main', image: 'programs:here', command, ports, readinessProbe }] };
  const documents: object[] = [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    },
  ];
  if (port)
    documents.push({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { selector: labels, ports: [{ name: 'main', port }] },
    });
  return documents.map((one) => JSON.stringify(one)).join('\n---\n');
}

/** A command that runs a script of this Node. */
export function nodeCommand(source: string): string[] {
  return [process.execPath, '--input-type=module', '-e', source];
}

function environment(home: string): NodeJS.ProcessEnv {
  return { MESH_HOME: home, KUBECONFIG: '', HOME: home };
}

async function remove(home: string, flags: string[] = []): Promise<string[]> {
  const { exitCode, stderr } = await execa(join(root, 'bin/mesh'), ['uninstall', '--yes', '--force', ...flags], {
    env: environment(home),
    reject: false,
  });
  const left = exitCode === 0 ? [] : [`uninstall: ${stderr}`];
  left.push(...processesOf(home));
  if (readFileSync('/proc/self/mounts', 'utf8').includes(home)) left.push('a mount');
  left.push(...['state', 'run'].filter((folder) => existsSync(join(home, folder))));
  // Where something is left, the folder stays to be looked at.
  if (left.length === 0) rmSync(home, { recursive: true, force: true });
  return left;
}

/** Processes that have a folder in their command line, environment or mounts, so whatever a mesh there has started. */
export function processesOf(folder: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      const mine =
        command.includes(folder) ||
        ['environ', 'mountinfo'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(folder));
      return mine ? [`process ${pid}: ${command.replaceAll('\0', ' ').slice(0, 200)}`] : [];
    } catch {
      return []; // It ended meanwhile.
    }
  });
}
