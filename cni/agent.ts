/**
 * The agent of the CNI plugin, on each node: puts the plugin there, keeps it in the network configuration, and takes it
 * away with the DaemonSet. It has no part in the start of a pod: the plugin runs without it.
 */
import { watch } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import { cniName } from '../protocol/names.ts';
import type { AgentConfig } from './agent-config.ts';
import { ConfFolder } from './conf-folder.ts';
import type { PluginFiles } from './plugin-files.ts';
import type { ApiAccess } from './pod-annotation.ts';

/** Whatever no watch tells of is found after this time. */
const tendMs = 10_000;
/** A burst of changes is looked at once. */
const settleMs = 50;
/** Calls of an older version have ended by then. */
const graceMs = 60_000;

export interface AgentOptions {
  config: AgentConfig;
  files: PluginFiles;
  /** Read anew each time: tokens are renewed. */
  access(): Promise<ApiAccess>;
  log(line: string): void;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #conf: ConfFolder;
  readonly #stopped = new AbortController();
  /** What pods on this node still wait for; undefined where all is in place. */
  #waitingFor: string | undefined = 'the plugin is not installed yet';
  #chained: string | undefined;
  #turn: Promise<void> = Promise.resolve();
  #scheduled = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#conf = new ConfFolder(options.config.confDir);
  }

  get waitingFor(): string | undefined {
    return this.#waitingFor;
  }

  /** Resolves when the plugin is installed; whatever changes later is put back. @throws Error where it does not run here */
  async start(): Promise<void> {
    const { files, config, log } = this.#options;
    await this.#tend();
    const { signal } = this.#stopped;
    for (const folder of [config.confDir, config.binDir]) {
      watch(folder, { signal }, () => this.#soon()).on('error', (error) => {
        if (!signal.aborted)
          log(`${folder} cannot be watched, it is looked at every ${tendMs / 1000} s: ${error.message}`);
      });
    }
    const timer = setInterval(() => this.#soon(), tendMs);
    const old = setTimeout(() => files.removeOthers(), graceMs);
    signal.addEventListener('abort', () => {
      clearInterval(timer);
      clearTimeout(old);
    });
  }

  /** Ends without a trace on the node, or leaves the plugin for the agent that comes next. */
  async stop(remove: boolean): Promise<void> {
    this.#stopped.abort();
    await this.#turn;
    if (!remove) return;
    // The configuration first: a runtime that has not read it anew still finds the plugin.
    this.#conf.unchain();
    await delay(1_000);
    this.#options.files.remove();
  }

  #soon(): void {
    if (this.#scheduled || this.#stopped.signal.aborted) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      this.#turn = this.#turn.then(() => this.#tend()).catch((error: Error) => this.#wait(error.message));
    }, settleMs);
  }

  async #tend(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    const { files, config, access, log } = this.#options;
    if (!files.isInPlace) {
      await files.install();
      log(`the plugin is installed in ${config.binDir}`);
    }
    files.writeApiAccess(await access());
    let chained: string | undefined;
    try {
      chained = this.#conf.chain();
    } catch (error) {
      return this.#wait((error as Error).message);
    }
    if (chained === undefined) return this.#wait(`there is no network configuration in ${config.confDir} yet`);
    if (this.#chained !== chained || this.#waitingFor !== undefined) log(`the plugin is chained in ${chained}`);
    this.#chained = chained;
    this.#waitingFor = undefined;
  }

  #wait(why: string): void {
    if (this.#waitingFor !== why) this.#options.log(why);
    this.#waitingFor = why;
  }
}

/**
 * Whether the plugin is to go with the agent: its DaemonSet or its namespace is deleted. An agent that only makes room for
 * another one, or whose API server does not answer, leaves it: pods that start meanwhile need it.
 */
export async function isUninstalled(kube: Pick<KubeClient, 'find'>): Promise<boolean> {
  try {
    const found = await Promise.all([
      kube.find(resources.daemonSets, cniName, cniName),
      kube.find(resources.namespaces, cniName),
    ]);
    return found.some((one) => !one || one.metadata.deletionTimestamp !== undefined);
  } catch (error) {
    // The account or its role has gone already.
    return error instanceof KubeError && (error.status === 401 || error.status === 403);
  }
}
