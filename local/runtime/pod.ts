/** One pod from its binding to its removal. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { type AddressPool, nodeAddress } from '../network/addresses.ts';
import { detachPod } from '../network/node.ts';
import type { Objects } from '../objects.ts';
import { insideUserNamespace } from '../user-namespace.ts';
import { capabilitiesOf } from './capabilities.ts';
import { containerFolder, messageFile } from './container.ts';
import { ConfigError, environmentOf, expand } from './environment.ts';
import { type PodFiles, podFiles } from './files.ts';
import type { ImageSource } from './image.ts';
import { endPrograms, endRecorded } from './recorded.ts';
import { Runner } from './runner.ts';
import { findSandbox, makeSandbox, type Sandbox } from './sandbox.ts';
import type { ContainerPlan } from './script.ts';
import { podStatus } from './status.ts';
import { volumeMounts } from './volume-mounts.ts';
import { PodVolumes, type TokenSource } from './volumes.ts';

export interface PodContext {
  objects: Objects;
  paths: { state: string; run: string };
  /** Folder of the mesh's own programs. */
  programs: string;
  addresses: AddressPool;
  images: ImageSource;
  token: TokenSource;
  nodeName: string;
  log: (message: string) => void;
}

const refreshPeriod = 1_000;
const defaultGrace = 30;

/** Init containers, sidecars among them, and main containers of a pod, in order. */
export class PodWorker {
  readonly #context: PodContext;
  readonly #files: PodFiles;
  readonly #volumes: PodVolumes;
  readonly #startedAt: string;
  #pod: KubeObject;
  #sandbox: Sandbox | undefined;
  #init: Runner[] = [];
  #main: Runner[] = [];
  #initialized = false;
  #stopping: Promise<void> | undefined;
  #released = false;
  #deadlineExceeded = false;
  #statusTimer: NodeJS.Immediate | undefined;
  #refreshTimer: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(pod: KubeObject, context: PodContext) {
    this.#pod = pod;
    this.#context = context;
    this.#files = podFiles(context.paths, pod.metadata.uid!);
    this.#startedAt = pod.status?.startTime ?? new Date().toISOString();
    const node = { name: context.nodeName, address: nodeAddress };
    this.#volumes = new PodVolumes({ objects: context.objects, token: context.token, node }, this.#files);
  }

  get pod(): KubeObject {
    return this.#pod;
  }

  get #grace(): number {
    return this.#pod.spec.terminationGracePeriodSeconds ?? defaultGrace;
  }

  /** The namespace file of the pod's network. */
  get network(): string | undefined {
    return this.#sandbox && `/proc/${this.#sandbox.holder.pid}/ns/net`;
  }

  runner(name: string | undefined): Runner | undefined {
    return [...this.#main, ...this.#init].find((one) => !name || one.container.name === name);
  }

  /** First process of each container that runs. */
  get running(): Map<string, number> {
    const all = [...this.#init, ...this.#main].filter((one) => one.running && one.process);
    return new Map(all.map((one) => [one.container.name as string, one.process!.pid]));
  }

  /** Takes a new version of the object; a deletion begins the end. */
  update(pod: KubeObject): void {
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp) void this.stop(pod.metadata.deletionGracePeriodSeconds ?? defaultGrace);
  }

  /** Runs the pod until all its containers have ended for good. */
  async run(): Promise<void> {
    try {
      if (!(await this.#prepare())) return;
      const { activeDeadlineSeconds } = this.#pod.spec;
      if (activeDeadlineSeconds !== undefined) this.#setDeadline(activeDeadlineSeconds);
      this.#makeRunners(this.#sandbox!);
      this.#statusChanged();
      if (!(await this.#initialize())) return;
      this.#initialized = true;
      this.#statusChanged();
      await Promise.all(this.#main.map((runner) => runner.run()));
      if (this.#released || this.#stopping) return;
      await this.#stopSidecars(this.#grace);
      this.#statusChanged();
    } catch (error) {
      if (this.#released) return;
      this.#context.log(`pod ${this.#pod.metadata.namespace}/${this.#pod.metadata.name}: ${(error as Error).stack}`);
      this.#context.objects.event(this.#pod, 'Warning', 'FailedCreatePodSandBox', (error as Error).message);
    }
  }

  /** Sandbox and volumes; false where the pod was deleted meanwhile. */
  async #prepare(): Promise<boolean> {
    const { addresses } = this.#context;
    const uid = this.#pod.metadata.uid!;
    const own = this.#pod.spec.hostNetwork === true;
    mkdirSync(this.#files.scratch, { recursive: true });
    for (let pause = 200; ; pause = Math.min(5_000, pause * 2)) {
      try {
        await this.#volumes.write(this.#pod);
        break;
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        this.#context.objects.event(this.#pod, 'Warning', 'FailedMount', error.message);
        await wait(pause);
        if (this.#stopping || this.#released) return false;
      }
    }
    this.#sandbox = findSandbox(this.#files);
    if (!this.#sandbox) {
      // What is recorded of containers belongs to a sandbox that is gone.
      rmSync(join(this.#files.run, 'containers'), { recursive: true, force: true });
      const before: string | undefined = this.#pod.status?.podIP;
      const address = own ? nodeAddress : before && addresses.take(before, uid) ? before : addresses.allocate(uid);
      this.#sandbox = await makeSandbox(this.#pod, address, this.#files);
    } else if (!own) addresses.take(this.#sandbox.address, uid);
    this.#statusChanged();
    this.#refreshTimer = setInterval(() => this.#refresh(), refreshPeriod);
    return !this.#stopping && !this.#released;
  }

  #refresh(): void {
    if (!this.#volumes.changing) return;
    this.#volumes.write(this.#pod).catch((error: Error) => {
      if (!(error instanceof ConfigError)) this.#context.log(`volumes of ${this.#pod.metadata.name}: ${error.message}`);
    });
  }

  /** Init containers in their order; sidecars go on running. False where the pod ends here. */
  async #initialize(): Promise<boolean> {
    for (const runner of this.#init) {
      if (this.#stopping || this.#released) return false;
      const sidecar = runner.container.restartPolicy === 'Always';
      const ended = runner.run();
      await (sidecar ? Promise.race([runner.started, ended]) : ended);
      if (this.#stopping || this.#released) return false;
      if (!sidecar && runner.exitCode !== 0) {
        await this.#stopSidecars(this.#grace);
        return false;
      }
    }
    return !this.#stopping && !this.#released;
  }

  /** Takes over a pod that has ended: it runs no more, but has logs until it is deleted. */
  adoptFinished(): void {
    this.#sandbox = findSandbox(this.#files);
    if (!this.#sandbox) return;
    if (!this.#pod.spec.hostNetwork) this.#context.addresses.take(this.#sandbox.address, this.#pod.metadata.uid!);
    this.#released = true;
    this.#makeRunners(this.#sandbox);
  }

  #makeRunners(sandbox: Sandbox): void {
    const { restartPolicy = 'Always', initContainers = [], containers } = this.#pod.spec;
    const once = restartPolicy === 'Never' ? 'Never' : 'OnFailure';
    this.#init = initContainers.map((one: KubeObject) =>
      this.#makeRunner(one, one.restartPolicy === 'Always' ? 'Always' : once, sandbox),
    );
    this.#main = containers.map((one: KubeObject) => this.#makeRunner(one, restartPolicy, sandbox));
  }

  #makeRunner(container: KubeObject, policy: 'Always' | 'OnFailure' | 'Never', sandbox: Sandbox): Runner {
    const runner: Runner = new Runner(container, policy, {
      podRun: this.#files.run,
      address: sandbox.address,
      holder: sandbox.holder,
      programs: this.#context.programs,
      grace: this.#grace * 1_000,
      plan: (one, attempt) => this.#plan(one, attempt),
      event: (type, reason, message) => this.#context.objects.event(this.#pod, type, reason, message),
      changed: () => this.#statusChanged(),
    });
    return runner;
  }

  #plan(container: KubeObject, attempt: number): ContainerPlan {
    const { objects, images, nodeName } = this.#context;
    const pod = structuredClone(this.#pod);
    pod.status = { ...pod.status, podIP: this.#sandbox!.address };
    const image = images.find(container);
    const security = { ...pod.spec.securityContext, ...container.securityContext };
    const user = image.user(security.runAsUser);
    if (security.runAsNonRoot === true && user.uid === 0)
      throw new ConfigError(`container has runAsNonRoot and image will run as root (container: ${container.name})`);
    const base = { HOME: user.home, ...image.environment };
    const environment = environmentOf(objects, pod, container, { name: nodeName, address: nodeAddress }, base);
    const command: string[] = container.command ?? image.entrypoint;
    const args: string[] = container.args ?? (container.command ? [] : image.command);
    const mounts = volumeMounts(container, environment, (name) => this.#volumes.source(pod, name));
    const termination: string | undefined = container.terminationMessagePath;
    const messages = termination
      ? [{ source: messageFile(this.#files.run, container.name, attempt), target: termination, readOnly: false }]
      : [];
    const own = (name: string): { source: string; target: string; readOnly: boolean } => ({
      source: join(this.#files.run, name),
      target: `/etc/${name}`,
      readOnly: false,
    });
    const capabilities = capabilitiesOf(security);
    return {
      scratch: join(this.#files.scratch, `${container.name}-${attempt % 2}`),
      root: image.root,
      userXattr: insideUserNamespace(),
      mounts: [...image.mounts, own('resolv.conf'), own('hosts'), own('hostname'), ...messages, ...mounts],
      process: {
        argv: [...command, ...args].map((word) => expand(word, environment)),
        environment,
        workingDirectory: container.workingDir ?? image.workingDirectory,
        uid: user.uid,
        gid: security.runAsGroup ?? user.gid,
        groups: [
          ...new Set<number>([
            ...user.groups,
            ...(security.supplementalGroups ?? []),
            ...(security.fsGroup === undefined ? [] : [security.fsGroup]),
          ]),
        ],
        ...(capabilities ? { capabilities } : {}),
        noNewPrivileges: security.allowPrivilegeEscalation === false,
      },
      readOnlyRoot: security.readOnlyRootFilesystem === true,
      imageId: image.id,
      stopSignal: image.stopSignal,
    };
  }

  #setDeadline(seconds: number): void {
    const left = Date.parse(this.#startedAt) + seconds * 1_000 - Date.now();
    this.#deadline = setTimeout(
      () => {
        this.#deadlineExceeded = true;
        void this.#stopContainers(this.#grace).then(() => this.#statusChanged());
      },
      Math.max(0, left),
    );
  }

  /** Sidecars in reverse order, one after the other, as the main containers no longer need them. */
  async #stopSidecars(grace: number): Promise<void> {
    const deadline = Date.now() + grace * 1_000;
    for (const runner of this.#init.toReversed()) await runner.stop(Math.max(0, deadline - Date.now()));
  }

  async #stopContainers(grace: number): Promise<void> {
    const deadline = Date.now() + grace * 1_000;
    await Promise.all(this.#main.map((runner) => runner.stop(grace * 1_000)));
    await this.#stopSidecars(Math.max(0, deadline - Date.now()) / 1_000);
  }

  /** Ends the pod and takes it out of the store. A later call with a shorter grace hurries the first one up. */
  stop(grace: number): Promise<void> {
    if (this.#stopping) {
      if (grace === 0) void this.#stopContainers(0);
      return this.#stopping;
    }
    this.#stopping = this.#end(grace);
    return this.#stopping;
  }

  async #end(grace: number): Promise<void> {
    this.#statusChanged();
    if (this.#main.length > 0) await this.#stopContainers(grace);
    else await this.#stopLeftovers(grace);
    clearInterval(this.#refreshTimer);
    clearTimeout(this.#deadline);
    clearImmediate(this.#statusTimer);
    await this.#writeStatus();
    await this.#clean();
    const { name, namespace, uid } = this.#pod.metadata;
    await this.#context.objects.remove(resources.pods, name!, namespace, uid);
  }

  /** An earlier daemon began to end this pod: finishes that, mains first, with what is left of the grace. */
  async #stopLeftovers(grace: number): Promise<void> {
    const deadline = Date.parse(this.#pod.metadata.deletionTimestamp ?? '') + grace * 1_000;
    const { containers, initContainers = [] } = this.#pod.spec;
    for (const group of [containers, initContainers]) {
      const folders = group.map((one: KubeObject) => containerFolder(this.#files.run, one.name));
      await endPrograms(folders, Math.max(0, deadline - Date.now()) || 0);
    }
  }

  async #clean(): Promise<void> {
    const sandbox = this.#sandbox ?? findSandbox(this.#files);
    if (sandbox && !this.#pod.spec.hostNetwork) await detachPod(sandbox.address);
    await endRecorded(this.#files.run);
    this.#volumes.release(this.#pod);
    this.#context.addresses.release(this.#pod.metadata.uid!);
    for (const folder of [this.#files.run, this.#files.volumes, this.#files.scratch])
      rmSync(folder, { recursive: true, force: true });
  }

  /** Lets go of the pod without ending it. */
  release(): void {
    this.#released = true;
    clearInterval(this.#refreshTimer);
    clearTimeout(this.#deadline);
    clearImmediate(this.#statusTimer);
    for (const runner of [...this.#init, ...this.#main]) runner.release();
  }

  #statusChanged(): void {
    if (this.#released) return;
    this.#statusTimer ??= setImmediate(() => {
      this.#statusTimer = undefined;
      void this.#writeStatus();
    });
  }

  async #writeStatus(): Promise<void> {
    const { objects, log } = this.#context;
    const { name, namespace, uid } = this.#pod.metadata;
    try {
      await objects.updateStatus(resources.pods, name!, namespace, (status, pod) => {
        if (pod.metadata.uid !== uid || this.#main.length === 0)
          return { ...status, ...this.#addresses(), startTime: this.#startedAt };
        return podStatus(pod, status, {
          ...this.#addresses(),
          startTime: this.#startedAt,
          init: this.#init,
          main: this.#main,
          initialized: this.#initialized,
          stopping: this.#stopping !== undefined,
          deadlineExceeded: this.#deadlineExceeded,
        });
      });
    } catch (error) {
      log(`status of pod ${namespace}/${name}: ${(error as Error).message}`);
    }
  }

  #addresses(): { podIP?: string } {
    return this.#sandbox ? { podIP: this.#sandbox.address } : {};
  }
}
