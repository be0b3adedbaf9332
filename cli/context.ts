/** What every command gets: the terminal, the global flags, and Kubernetes when it asks for it. */
import type { KubeClient } from '../kube/client.ts';
import type { Io } from './io.ts';

export interface GlobalOptions {
  kubeconfig?: string;
  context?: string;
  namespace?: string;
  as?: string;
  asGroup?: string[];
  requestTimeout?: string;
}

export interface Context {
  io: Io;
  /** Parsed global flags; filled before a command's action runs. */
  globals: GlobalOptions;
  /**
   * The cluster of the kubeconfig, or where none is configured the local mesh of this machine.
   * Throws CliError `local-mesh-not-running` where neither is there, `cluster-unreachable` where it does not answer.
   */
  kube(): Promise<KubeClient>;
  /** What kube() answered, where it was asked. */
  connected(): Promise<KubeClient> | undefined;
  now(): Date;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /**
   * Set while an interruption must be waited for, to what is then done ("taking the local mesh down"):
   * otherwise Ctrl-C ends the command at once.
   */
  cleanUp: string | undefined;
}
