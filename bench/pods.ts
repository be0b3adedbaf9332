/** The benchmark's pods on a local mesh of its own: nginx and a server proxy in one, a client proxy in the other. */
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';

export interface Mesh {
  home: string;
  /** Runs the CLI against this mesh; returns stdout. */
  cli(args: string[], input?: string): Promise<string>;
}

const root = path.join(import.meta.dirname, '..');

export function meshAt(home: string): Mesh {
  return {
    home,
    async cli(args, input) {
      const result = await execa(path.join(root, 'bin/mesh'), args, {
        env: { MESH_HOME: home, KUBECONFIG: '', HOME: home },
        ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
      });
      return result.stdout;
    },
  };
}

const nginxConf = (folder: string, port: number) => `worker_processes 1;
daemon off;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 100000000;
  client_body_temp_path /tmp; proxy_temp_path /tmp; fastcgi_temp_path /tmp; uwsgi_temp_path /tmp; scgi_temp_path /tmp;
  server {
    listen ${port} backlog=4096;
    location / { default_type text/plain; return 200 "hello from the origin of the bench\\n"; }
  }
}
`;

export async function writeOrigin(folder: string, port: number): Promise<void> {
  await writeFile(path.join(folder, 'nginx.conf'), nginxConf('/tmp', port));
}

/** A pod with host folder `folder` at /bench and the commands as containers. */
export function podManifest(
  name: string,
  folder: string,
  commands: Record<string, string[]>,
  labels: Record<string, string> = {},
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'bench', labels: { app: name, ...labels } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: Object.entries(commands).map(([container, command]) => ({
        name: container,
        image: 'bench/host:1',
        command,
        volumeMounts: [{ name: 'bench', mountPath: '/bench' }],
      })),
      volumes: [{ name: 'bench', hostPath: { path: folder } }],
    },
  };
}

export interface Process {
  pid: number;
  command: string;
  /** Network namespace, as /proc names it. */
  network: string;
  /** The kernel's user and system time so far, seconds. */
  cpu: number;
  /** Resident and private memory, bytes. */
  rss: number;
  private: number;
}

/** All processes whose command line contains a text. */
export async function processes(text: string): Promise<Process[]> {
  const found: Process[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const process = await inspect(Number(entry), text).catch(() => undefined); // it ended meanwhile
    if (process) found.push(process);
  }
  return found;
}

async function inspect(pid: number, text: string): Promise<Process | undefined> {
  const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
  if (!command.includes(text)) return undefined;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const memory = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) * 1024;
  return {
    pid,
    command,
    network: await readlink(`/proc/${pid}/ns/net`),
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
    rss: kilobytes('Rss'),
    private: kilobytes('Private_Clean') + kilobytes('Private_Dirty'),
  };
}

export interface PodStatus {
  ip: string;
  ready: boolean;
}

/** Waits until pods of the namespace `bench` are ready; returns their addresses by name. */
export async function podsReady(
  kubectl: (args: string[]) => Promise<string>,
  names: string[],
): Promise<Record<string, string>> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const { items } = JSON.parse(await kubectl(['get', 'pods', '-n', 'bench', '-o', 'json'])) as {
      items: {
        metadata: { name: string };
        status?: { podIP?: string; conditions?: { type: string; status: string }[] };
      }[];
    };
    const ready = items.filter((pod) =>
      pod.status?.conditions?.some((entry) => entry.type === 'Ready' && entry.status === 'True'),
    );
    const ips = Object.fromEntries(ready.map((pod) => [pod.metadata.name, pod.status!.podIP!]));
    if (names.every((name) => ips[name])) return ips;
    await wait(200);
  }
  throw new Error(`pods ${names.join(', ')} were not ready within 60 s`);
}
