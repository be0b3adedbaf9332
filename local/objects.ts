/** The local mesh's objects as its controllers and pod runtime see them: the API's own door, without HTTP. */

import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { NodeStats } from '../kube/node-stats.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../kube/types.ts';

/** Thrown where a write lost against another: read again and retry. */
export class Conflict extends Error {}
export class NotFound extends Error {}

export interface Selector {
  namespace?: string;
  /** Equality only; for more, filter the result. */
  labels?: Record<string, string>;
}

/**
 * Objects handed out are frozen: copy (structuredClone) before changing. All of them are held in memory and written
 * through to disk before a write returns.
 */
export interface Objects {
  get<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): T | undefined;
  list<T extends KubeObject>(type: ResourceType, selector?: Selector): T[];
  /** Defaults, admission webhooks, validation, then storage: what a POST does. */
  create<T extends KubeObject>(type: ResourceType, object: T): Promise<T>;
  /** What a PUT does; throws Conflict where metadata.resourceVersion is not the stored one, NotFound. */
  update<T extends KubeObject>(type: ResourceType, object: T): Promise<T>;
  /** Replaces only `.status`, read-modify-write inside; no-op where nothing changes. Returns undefined where the object is gone. */
  updateStatus<T extends KubeObject>(
    type: ResourceType,
    name: string,
    namespace: string | undefined,
    change: (status: T['status'], object: T) => T['status'],
  ): Promise<T | undefined>;
  /** What a DELETE does: pods get a deletionTimestamp and stay until the runtime calls `remove`. No error where it is gone. */
  delete(
    type: ResourceType,
    name: string,
    namespace?: string,
    options?: { gracePeriodSeconds?: number; propagation?: 'Foreground' | 'Background' | 'Orphan' },
  ): Promise<void>;
  /** Takes a terminated pod (or any object whose finalizers are done) out of the store. */
  remove(type: ResourceType, name: string, namespace?: string, uid?: string): Promise<void>;
  /** Every object there is as ADDED, then each change; returns the way to stop. Listeners run synchronously after the write. */
  watch<T extends KubeObject>(type: ResourceType, listener: (event: WatchEvent<T>) => void): () => void;
  /** Records (or counts up) an Event about an object, as kubectl describe shows it. */
  event(about: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void;
}

/** A program that was started in a container, while somebody listens. */
export interface ExecSession {
  stdin: Writable | null;
  stdout: Readable | null;
  /** Null with a terminal: it has one output. */
  stderr: Readable | null;
  /** Exit code, after all output; null where a signal ended it. */
  exited: Promise<number | null>;
  kill(): void;
  resize?(columns: number, rows: number): void;
}

/** The session of a program with pipes. */
export function pipedSession(child: ChildProcess): ExecSession {
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code));
  });
  return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exited, kill: () => child.kill('SIGKILL') };
}

/** What the API server asks of the pod runtime. */
export interface PodRuntime {
  /** File or stream with the log of a container; throws NotFound where there is none. */
  logs(
    namespace: string,
    pod: string,
    options: {
      container: string;
      follow: boolean;
      tailLines?: number;
      previous?: boolean;
      sinceSeconds?: number;
      sinceTime?: number;
      limitBytes?: number;
      timestamps?: boolean;
    },
    signal: AbortSignal,
  ): NodeJS.ReadableStream;
  /** Starts a command in a running container. */
  exec(
    namespace: string,
    pod: string,
    container: string,
    command: string[],
    options: { tty: boolean },
  ): Promise<ExecSession>;
  /** A connection to a port on the pod's loopback (or address). */
  connect(namespace: string, pod: string, port: number): Promise<import('node:stream').Duplex>;
  /** What every container that runs uses. */
  stats(): NodeStats;
}
