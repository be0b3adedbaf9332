/** A local mesh of a test's own. Needs root. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { KubeClient } from '../../kube/client.ts';
import { createConfiguredClient } from '../../kube/configured.ts';
import { connectIn, listenIn } from '../../local/network/socket.ts';
import {
  type Application,
  type Gauge,
  type Outside,
  type PodObject,
  type PodSocket,
  type Running,
  TestMesh,
  until,
} from './mesh.ts';

const root = join(import.meta.dirname, '../..');

export class LocalMesh extends TestMesh {
  readonly home: string;
  readonly client: KubeClient;
  readonly namespace = 'default';

  private constructor(home: string, client: KubeClient) {
    super();
    this.home = home;
    this.client = client;
  }

  /** `args`: flags of `mesh install`. */
  static async install(...args: string[]): Promise<LocalMesh> {
    if (!existsSync(join(root, 'dist/cli.js'))) await execa(process.execPath, [join(root, 'scripts/build.ts')]);
    const home = mkdtempSync(join(tmpdir(), 'mesh-acceptance-'));
    try {
      await execa(join(root, 'bin/mesh'), ['install', ...args], { env: environment(home) });
      const files = [join(home, 'state/kubeconfig')];
      return new LocalMesh(home, await createConfiguredClient({ files, timeoutMs: 10_000, local: true }));
    } catch (error) {
      await remove(home);
      throw error;
    }
  }

  /** What may be left behind: processes, mounts, folders. */
  async uninstall(...flags: string[]): Promise<string[]> {
    this.client.close();
    return remove(this.home, flags);
  }

  async mesh(args: string[], input: string | Uint8Array = ''): Promise<string> {
    return (await execa(join(root, 'bin/mesh'), args, { env: environment(this.home), input })).stdout;
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

  start(pod: PodObject, ...command: string[]): Running {
    const [program, ...args] = this.inside(pod, ...command);
    const child = execa(program!, args, { timeout: 840_000, env: { HOME: '/' } });
    const ended = child.then(({ stdout }) => stdout);
    return { stdin: child.stdin, stdout: child.stdout, ended };
  }

  dial(pod: PodObject, address: string, port: number): PodSocket {
    return connectIn(this.#network(pod), address, port);
  }

  async serve(
    pod: PodObject,
    port: number,
    accept: (socket: PodSocket) => void,
    container?: string,
  ): Promise<Application> {
    const server = await listenIn(this.#network(pod, container), '0.0.0.0', port, accept);
    return { port, close: () => void server.close() };
  }

  async killProgram(pod: PodObject): Promise<void> {
    const pid = this.pid(pod);
    process.kill(pid, 'SIGKILL');
    await until('its next start', () => this.pid(pod) > 0 && this.pid(pod) !== pid);
  }

  async outside(): Promise<Outside | undefined> {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const address = addresses.find((one) => one.family === 'IPv4' && !one.internal)?.address;
    if (!address) {
      process.stderr.write('traffic out of the mesh: skipped, this machine has no address but loopback\n');
      return undefined;
    }
    const own = '/proc/self/ns/net';
    return {
      address,
      serve: async (accept) => {
        const server = await listenIn(own, address, 0, accept);
        return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
      },
    };
  }

  async watchMemory(pod: PodObject): Promise<Gauge> {
    const file = `/proc/${this.pid(pod, 'mesh-proxy')}/status`;
    return {
      last: () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(file, 'utf8'))![1]) / 1024,
      stop: () => {},
    };
  }

  #network(pod: PodObject, container?: string): string {
    return `/proc/${this.pid(pod, container)}/ns/net`;
  }
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
