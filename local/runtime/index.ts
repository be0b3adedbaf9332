/** The pod runtime of the local mesh: takes every pod of the store, runs it, and answers for its logs and ports. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { NodeStats } from '../../kube/node-stats.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { connectIn } from '../network/socket.ts';
import { Conflict, type ExecSession, NotFound, type PodRuntime, pipedSession } from '../objects.ts';
import { podFiles } from './files.ts';
import { LogClock } from './log-clock.ts';
import { streamLog } from './logs.ts';
import { type PodContext, PodWorker } from './pod.ts';
import { endRecorded } from './recorded.ts';
import { runInTerminal } from './terminal.ts';
import { containerStats } from './usage.ts';

export class Runtime implements PodRuntime {
  readonly #context: PodContext;
  readonly #workers = new Map<string, PodWorker>();
  readonly #clock = new LogClock(() => this.#logFiles());
  #unwatch: (() => void) | undefined;

  constructor(context: PodContext) {
    this.#context = context;
  }

  /** Adopts the pods that still run, starts the others, and follows the store from then on. */
  start(): void {
    const { objects, addresses } = this.#context;
    // Addresses of pods that are there come first: a new pod must not get one of them.
    for (const pod of objects.list(resources.pods))
      if (pod.status?.podIP && !pod.spec.hostNetwork) addresses.take(pod.status.podIP, pod.metadata.uid!);
    void this.#sweep().catch((error: Error) => this.#context.log(`clean-up of old pods: ${error.message}`));
    this.#unwatch = objects.watch(resources.pods, ({ type, object }) => {
      const uid = object.metadata.uid!;
      const worker = this.#workers.get(uid);
      if (type === 'DELETED') {
        this.#workers.delete(uid);
        void worker?.stop(0);
      } else if (worker) worker.update(object);
      else void this.#take(object);
    });
  }

  /** Ends pods that were taken out of the store while their daemon died. */
  async #sweep(): Promise<void> {
    const { objects, paths } = this.#context;
    const known = new Set(objects.list(resources.pods).map((pod) => pod.metadata.uid));
    const folder = join(paths.run, 'pods');
    for (const uid of existsSync(folder) ? readdirSync(folder) : []) {
      if (known.has(uid)) continue;
      const files = podFiles(paths, uid);
      await endRecorded(files.run);
      for (const one of [files.run, files.volumes, files.scratch]) rmSync(one, { recursive: true, force: true });
    }
  }

  async #take(pod: KubeObject): Promise<void> {
    const { objects, nodeName, log } = this.#context;
    const worker = new PodWorker(pod, this.#context);
    this.#workers.set(pod.metadata.uid!, worker);
    try {
      const done = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
      if (!pod.spec.nodeName && !pod.metadata.deletionTimestamp) await this.#bind(pod);
      if (pod.metadata.deletionTimestamp) return worker.update(pod);
      if (done) worker.adoptFinished();
      else await worker.run();
    } catch (error) {
      log(`pod ${pod.metadata.namespace}/${pod.metadata.name}: ${(error as Error).message}`);
      objects.event(pod, 'Warning', 'FailedScheduling', `not placed on ${nodeName}: ${(error as Error).message}`);
    }
  }

  async #bind(pod: KubeObject): Promise<void> {
    const { objects, nodeName } = this.#context;
    for (;;) {
      const current = objects.get(resources.pods, pod.metadata.name!, pod.metadata.namespace);
      if (!current || current.metadata.uid !== pod.metadata.uid) return;
      try {
        const bound = await objects.update(resources.pods, {
          ...structuredClone(current),
          spec: { ...structuredClone(current.spec), nodeName },
        });
        objects.event(
          bound,
          'Normal',
          'Scheduled',
          `Successfully assigned ${pod.metadata.namespace}/${pod.metadata.name} to ${nodeName}`,
        );
        return;
      } catch (error) {
        if (error instanceof NotFound) return;
        if (!(error instanceof Conflict)) throw error;
      }
    }
  }

  #logFiles(): string[] {
    return [...this.#workers.values()].flatMap((worker) => {
      const { containers, initContainers = [] } = worker.pod.spec;
      return [...initContainers, ...containers].flatMap(({ name }: KubeObject) => {
        const runner = worker.runner(name as string);
        return (runner?.running && runner.log(false)) || [];
      });
    });
  }

  /** Lets go of every pod; they go on running. */
  release(): void {
    this.#clock.stop();
    this.#unwatch?.();
    for (const worker of this.#workers.values()) worker.release();
  }

  #worker(namespace: string, name: string): PodWorker {
    for (const worker of this.#workers.values())
      if (worker.pod.metadata.name === name && worker.pod.metadata.namespace === namespace) return worker;
    throw new NotFound(`pod ${namespace}/${name} does not run here`);
  }

  logs(...[namespace, pod, options, signal]: Parameters<PodRuntime['logs']>): NodeJS.ReadableStream {
    const runner = this.#worker(namespace, pod).runner(options.container);
    const file = runner?.log(options.previous === true);
    if (!runner || !file)
      throw new NotFound(
        options.previous
          ? `previous terminated container "${options.container}" in pod "${pod}" not found`
          : `container "${options.container}" in pod "${pod}" is waiting to start`,
      );
    const { sinceSeconds, sinceTime = sinceSeconds === undefined ? undefined : Date.now() - sinceSeconds * 1_000 } =
      options;
    const from = sinceTime === undefined ? {} : { from: this.#clock.offsetAt(file, sinceTime) };
    const running = (): boolean => runner.log(false) === file && runner.running;
    return streamLog(file, { ...options, ...from, running }, signal);
  }

  async exec(...[namespace, pod, container, command, options]: Parameters<PodRuntime['exec']>): Promise<ExecSession> {
    const runner = this.#worker(namespace, pod).runner(container);
    if (!runner) throw new NotFound(`pod ${pod} has no container ${container}`);
    const argv = [...runner.enter(), ...command];
    if (options.tty) return runInTerminal(runner.process!.pid, argv);
    return pipedSession(spawn(argv[0]!, argv.slice(1), { stdio: 'pipe' }));
  }

  stats(): NodeStats {
    const pods = [...this.#workers.values()].map(({ pod, running }) => {
      const { name = '', namespace = '', uid = '' } = pod.metadata;
      return { podRef: { name, namespace, uid }, containers: containerStats(running) };
    });
    return { pods };
  }

  async connect(namespace: string, pod: string, port: number): Promise<Duplex> {
    const worker = this.#worker(namespace, pod);
    if (!worker.network) throw new NotFound(`pod ${pod} has no network yet`);
    const socket = connectIn(worker.network, '127.0.0.1', port);
    socket.setNoDelay(true);
    return socket;
  }
}
