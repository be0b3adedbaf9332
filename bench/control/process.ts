/** The control plane under test: its bundle in a process of its own, bound to one processor, as if in a pod. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { controlNamespace } from '../../protocol/names.ts';
import { apiPort, controlAdminPort } from '../../protocol/ports.ts';
import { controlDeployment } from '../../templates/control.ts';
import { until } from '../../test/support/mesh.ts';
import { type Usage, usage } from '../usage.ts';
import type { ApiReady } from './messages.ts';

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
const sampleMs = 250;

/** What a process used over a while. */
export interface Spent {
  seconds: number;
  /** Of one processor, 0..1. */
  cpu: number;
  /** Bytes: at the end, and the most that was seen. */
  rss: number;
  private: number;
  peakRss: number;
}

/** Service account files as a pod has them; in a mount namespace of the bench's own. */
export async function mountAccount(api: ApiReady): Promise<void> {
  await mkdir(accountFolder, { recursive: true });
  await writeFile(join(accountFolder, 'token'), api.controlToken);
  await writeFile(join(accountFolder, 'ca.crt'), api.root);
  await writeFile(join(accountFolder, 'namespace'), controlNamespace);
}

export class ControlProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts it and waits until it is ready. `profile`: a folder for a profile of its processor time. */
  static async start(api: ApiReady, logFile: string, profile: string | undefined): Promise<ControlProcess> {
    const flags = profile ? ['--cpu-prof', `--cpu-prof-dir=${profile}`] : [];
    // Its first processor only: what it cannot do there it cannot do.
    const installed = asInstalled();
    const child = spawn('taskset', ['-c', '0', process.execPath, ...flags, ...installed.flags, 'dist/control.js'], {
      env: { ...installed.env, KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(api.port) },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr!.pipe(createWriteStream(logFile, { flags: 'a' }));
    let ended: string | undefined;
    child.once('exit', (code, signal) => {
      ended = `the control plane ended with ${signal ?? code}; see ${logFile}`;
    });
    await until('the control plane is ready', async () => {
      if (ended) throw new Error(ended);
      return (await fetch(`http://127.0.0.1:${controlAdminPort}/ready`).catch(() => undefined))?.ok;
    });
    return new ControlProcess(child);
  }

  usage(): Promise<Usage> {
    return usage(this.#child.pid!);
  }

  /** What it uses while `work` goes on. */
  async during<T>(work: () => Promise<T>): Promise<{ result: T; spent: Spent }> {
    const before = await this.usage();
    const began = performance.now();
    let peakRss = before.rss;
    const sampler = setInterval(() => {
      void resident(this.#child.pid!).then((rss) => {
        peakRss = Math.max(peakRss, rss);
      });
    }, sampleMs);
    const result = await work().finally(() => clearInterval(sampler));
    const after = await this.usage();
    const seconds = (performance.now() - began) / 1000;
    const spent = { seconds, cpu: (after.cpu - before.cpu) / seconds, rss: after.rss, private: after.private };
    return { result, spent: { ...spent, peakRss: Math.max(peakRss, after.rss) } };
  }

  /** Ends it as a node that fails does, without a word to anyone; with a profile it must have time to write it. */
  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill(signal);
    await ended;
  }
}

/** Node's flags and the allocator's settings that `mesh install` starts it with. */
function asInstalled(): { flags: string[]; env: Record<string, string> } {
  const options = {
    image: '',
    version: '',
    namespace: controlNamespace,
    trustDomain: '',
    imagePullSecrets: [],
    controlEnv: {},
  };
  const { spec } = controlDeployment({ ...options, ha: false }, {}, {});
  const { command, env }: { command: string[]; env: { name: string; value: string }[] } =
    spec.template.spec.containers[0];
  const own = env.filter(({ name }) => !name.startsWith('MESH_'));
  return { flags: command.slice(1, -1), env: Object.fromEntries(own.map(({ name, value }) => [name, value])) };
}

async function resident(pid: number): Promise<number> {
  const pages = (await readFile(`/proc/${pid}/statm`, 'utf8').catch(() => '')).split(' ')[1];
  return Number(pages ?? 0) * 4096;
}

/** Value of a metric of the control plane. */
export async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${controlAdminPort}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
  if (value === undefined) throw new Error(`the control plane tells no ${name}: ${text.slice(0, 200)}`);
  return Number(value);
}

/** Milliseconds until the API of the control plane has answered. */
export async function timeOf(path: string): Promise<number> {
  const began = performance.now();
  const response = await fetch(`http://127.0.0.1:${apiPort}${path}`);
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`the control plane answered ${path} with ${response.status}`);
  return performance.now() - began;
}
