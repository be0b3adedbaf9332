/** Runs one container of a pod over and over, as its restart policy says, with back-off; probes it; knows its status. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { KubeObject } from '../../kube/types.ts';
import type { ProcessIdentity } from '../process.ts';
import { Attempt, containerFolder, type Exit } from './container.ts';
import { probeContainer } from './container-probes.ts';
import { ConfigError } from './environment.ts';
import { readRecord, replaceFile } from './files.ts';
import { type ProbeTarget, attempt as tryHandler } from './probe.ts';
import type { ContainerPlan } from './script.ts';

const firstBackoff = 10_000;
const longestBackoff = 300_000;
/** A container that ran this long starts anew with the first back-off. */
const goodRun = 600_000;
const logLimit = 10 * 1024 * 1024;

export interface RunnerContext {
  podRun: string;
  address: string;
  holder: ProcessIdentity;
  /** Folder of the mesh's own programs. */
  programs: string;
  /** Milliseconds a program has to end. */
  grace: number;
  /** Throws ConfigError where a reference leads nowhere, ImageError where the container has no program. */
  plan: (container: KubeObject, attempt: number) => ContainerPlan;
  event: (type: 'Normal' | 'Warning', reason: string, message: string) => void;
  /** Something in the status changed. */
  changed: () => void;
}

/** The container's image, or the lack of one, keeps it from starting. */
export class ImageError extends Error {
  /** As Kubernetes calls it, e.g. ErrImagePull. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

interface Record {
  attempt: number;
  restarts: number;
  backoff: number;
  id: string;
  image?: string;
  stopSignal?: NodeJS.Signals;
  last?: object;
  /** The program had passed its startup probe. */
  started?: boolean;
}

type State =
  | { waiting: { reason: string; message?: string } }
  | { running: { startedAt: string } }
  | {
      terminated: {
        exitCode: number;
        reason: string;
        startedAt: string;
        finishedAt: string;
        containerID: string;
        message?: string;
      };
    };

export class Runner {
  readonly container: KubeObject;
  readonly #context: RunnerContext;
  readonly #policy: 'Always' | 'OnFailure' | 'Never';
  readonly #cancel = new AbortController();
  readonly #stopping = new AbortController();
  #record: Record;
  #state: State = { waiting: { reason: 'PodInitializing' } };
  #current: Attempt | undefined;
  #started = false;
  #ready = false;
  #stopProbes: () => void = () => {};
  #killedFor: string | undefined;
  readonly #startedSignal = Promise.withResolvers<void>();

  constructor(container: KubeObject, policy: 'Always' | 'OnFailure' | 'Never', context: RunnerContext) {
    this.container = container;
    this.#policy = policy;
    this.#context = context;
    this.#record = readRecord<Record>(this.#recordFile) ?? { attempt: 0, restarts: 0, backoff: 0, id: '' };
  }

  get #recordFile(): string {
    return join(containerFolder(this.#context.podRun, this.container.name), 'record.json');
  }

  /** Resolves when the program has started (and passed its startup probe) for the first time. */
  get started(): Promise<void> {
    return this.#startedSignal.promise;
  }

  get ready(): boolean {
    return this.#ready;
  }

  get running(): boolean {
    return 'running' in this.#state;
  }

  /** Exit code, where the container has ended for good. */
  get exitCode(): number | undefined {
    return 'terminated' in this.#state ? this.#state.terminated.exitCode : undefined;
  }

  get process(): ProcessIdentity | undefined {
    return this.#current?.process;
  }

  /** Log of the current (or, with `previous`, the last) start. */
  log(previous: boolean): string | undefined {
    const number = this.#record.attempt - (previous ? 1 : 0);
    return number > 0 ? new Attempt(this.#context.podRun, this.container.name, number).log : undefined;
  }

  get status(): object {
    const { image, name } = this.container;
    return {
      name,
      image,
      imageID: this.#record.image ?? '',
      ...(this.#record.id ? { containerID: this.#record.id } : {}),
      ready: this.#ready,
      started: this.#started,
      restartCount: this.#record.restarts,
      state: this.#state,
      lastState: this.#record.last ? { terminated: this.#record.last } : {},
    };
  }

  /** Runs until the container has ended for good. Call once. */
  async run(): Promise<void> {
    const cancelled = this.#cancel.signal;
    const previous =
      this.#record.attempt > 0
        ? new Attempt(this.#context.podRun, this.container.name, this.#record.attempt)
        : undefined;
    // A container of an earlier daemon: goes on where it is, or tells how it ended meanwhile.
    let exit = previous?.started ? await this.#watch(previous, true) : undefined;
    while (!cancelled.aborted) {
      if (exit) {
        if (this.#finished(exit)) return;
        await this.#backOff();
        if (this.#stopping.signal.aborted) return;
      }
      const next = await this.#start(exit !== undefined);
      if (!next) return;
      exit = await this.#watch(next, false);
    }
  }

  /** Whether it stays ended after this exit. */
  #finished(exit: Exit): boolean {
    if (this.#stopping.signal.aborted || this.#cancel.signal.aborted) return true;
    return this.#policy === 'Never' || (this.#policy === 'OnFailure' && exit.code === 0);
  }

  async #backOff(): Promise<void> {
    const terminated = 'terminated' in this.#state ? this.#state.terminated : undefined;
    const ran = terminated ? Date.parse(terminated.finishedAt) - Date.parse(terminated.startedAt) : 0;
    const pause = ran >= goodRun ? 0 : this.#record.backoff;
    this.#record.backoff = Math.min(longestBackoff, pause === 0 ? firstBackoff : pause * 2);
    if (terminated) this.#record.last = terminated;
    this.#save();
    if (pause === 0) return;
    const message = `back-off ${pause / 1_000}s restarting failed container=${this.container.name}`;
    this.#set({ waiting: { reason: 'CrashLoopBackOff', message } });
    this.#context.event('Warning', 'BackOff', `Back-off restarting failed container ${this.container.name}`);
    await wait(pause, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }

  /** Starts the program; undefined where it was stopped meanwhile. Waits for missing references and images. */
  async #start(again: boolean): Promise<Attempt | undefined> {
    const { podRun, event, holder, programs } = this.#context;
    const { name, image } = this.container;
    for (let pause = 250; !this.#stopping.signal.aborted; pause = Math.min(5_000, pause * 2)) {
      try {
        const number = this.#record.attempt + 1;
        const plan = this.#context.plan(this.container, number);
        const from =
          plan.imageId === '' ? 'is not loaded: running a program of this machine' : 'already present on machine';
        event('Normal', 'Pulled', `Container image "${image}" ${from}`);
        new Attempt(podRun, name, number - 2).remove();
        const made = new Attempt(podRun, name, number);
        made.remove();
        this.#record = {
          ...this.#record,
          attempt: number,
          restarts: this.#record.restarts + (again ? 1 : 0),
          id: `mesh://${randomUUID()}`,
          started: false,
          image: plan.imageId,
          stopSignal: plan.stopSignal,
        };
        this.#save();
        event('Normal', 'Created', `Created container: ${name}`);
        made.start(plan, holder, programs);
        await made.running(this.#cancel.signal);
        event('Normal', 'Started', `Started container ${name}`);
        return made;
      } catch (error) {
        if (this.#cancel.signal.aborted) return undefined;
        const message = (error as Error).message;
        const reason =
          error instanceof ConfigError
            ? 'CreateContainerConfigError'
            : error instanceof ImageError
              ? error.reason
              : 'RunContainerError';
        if (!('waiting' in this.#state) || this.#state.waiting.reason !== reason)
          event('Warning', 'Failed', `Error: ${message}`);
        this.#set({ waiting: { reason, message } });
        await wait(pause, undefined, { signal: this.#stopping.signal }).catch(() => {});
      }
    }
    return undefined;
  }

  /** Watches a running program until it ends. */
  async #watch(attempt: Attempt, adopted: boolean): Promise<Exit> {
    this.#current = attempt;
    this.#killedFor = undefined;
    await attempt.running(this.#cancel.signal);
    const startedAt = existsSync(attempt.log) && attempt.process ? attempt.startedAt : new Date().toISOString();
    this.#state = { running: { startedAt } };
    this.#probe(adopted);
    this.#context.changed();
    const rotation = setInterval(() => attempt.rotate(logLimit), 5_000);
    let exit: Exit;
    try {
      exit = await attempt.ended(this.#cancel.signal);
    } finally {
      clearInterval(rotation);
      this.#stopProbes();
    }
    this.#ready = false;
    this.#started = false;
    const reason = exit.code === 0 ? 'Completed' : 'Error';
    const fallback = this.container.terminationMessagePolicy === 'FallbackToLogsOnError' && exit.code !== 0;
    const message = attempt.message(fallback);
    this.#set({
      terminated: {
        exitCode: exit.code,
        reason,
        ...(message === '' ? {} : { message }),
        startedAt,
        finishedAt: exit.finishedAt,
        containerID: this.#record.id,
      },
    });
    return exit;
  }

  get #target(): ProbeTarget {
    return { address: this.#context.address, container: this.container, enter: () => this.enter() };
  }

  #probe(adopted: boolean): void {
    this.#stopProbes = probeContainer(this.#target, adopted ? { started: this.#record.started === true } : undefined, {
      event: this.#context.event,
      started: (ready) => {
        this.#started = true;
        this.#record.started = true;
        this.#save();
        this.#ready = ready;
        this.#startedSignal.resolve();
        this.#context.changed();
      },
      ready: (ready) => this.#setReady(ready),
      restart: (why) => this.#restart(why),
    });
  }

  #setReady(ready: boolean): void {
    if (this.#ready === ready || !this.running) return;
    this.#ready = ready;
    this.#context.changed();
  }

  /** Ends the program so that the policy starts it anew. */
  #restart(why: string): void {
    if (this.#killedFor !== undefined) return;
    this.#killedFor = why;
    this.#context.event('Normal', 'Killing', why);
    const attempt = this.#current;
    if (attempt) void this.#end(attempt, this.#context.grace, true);
  }

  /** preStop, the stop signal, and SIGKILL when `grace` ms are over. */
  async #end(attempt: Attempt, grace: number, hook: boolean): Promise<void> {
    const deadline = Date.now() + grace;
    const { preStop } = this.container.lifecycle ?? {};
    if (hook && preStop && grace > 0) {
      const late = wait(grace, 'it was not done within the grace period', { ref: false });
      const problem = await Promise.race([tryHandler(preStop, this.#target, grace / 1_000), late]);
      if (problem !== undefined) this.#context.event('Warning', 'FailedPreStopHook', `PreStopHook failed: ${problem}`);
    }
    attempt.kill(grace > 0 ? (this.#record.stopSignal ?? 'SIGTERM') : 'SIGKILL');
    const timer = setTimeout(() => attempt.kill('SIGKILL'), Math.max(0, deadline - Date.now()));
    await attempt.ended(this.#cancel.signal).catch(() => {});
    clearTimeout(timer);
  }

  /** Ends the container for good; a later call with a shorter grace hurries the first one up. */
  async stop(grace: number): Promise<void> {
    const first = !this.#stopping.signal.aborted;
    this.#stopping.abort();
    if (!this.running || !this.#current) return;
    if (first) this.#context.event('Normal', 'Killing', `Stopping container ${this.container.name}`);
    await this.#end(this.#current, grace, first);
  }

  /** Lets go of the container without ending it: the daemon stops, the pod goes on. */
  release(): void {
    this.#cancel.abort(new Error('released'));
    this.#stopping.abort();
    this.#stopProbes();
  }

  /** Command prefix that runs something inside the running container, as its user. */
  enter(): string[] {
    const prefix = this.running ? this.#current?.enter(this.#context.programs) : undefined;
    if (!prefix) throw new Error(`container ${this.container.name} is not running`);
    return prefix;
  }

  #set(state: State): void {
    this.#state = state;
    this.#context.changed();
  }

  #save(): void {
    replaceFile(this.#recordFile, JSON.stringify(this.#record));
  }
}
