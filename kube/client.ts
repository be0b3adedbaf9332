/** What the CLI and the control plane ask of Kubernetes. */
import type { Duplex } from 'node:stream';
import type { NodeStats } from './node-stats.ts';
import type { KubeObject, ResourceType, WatchEvent } from './types.ts';

/** A call the API server refused or never answered. */
export class KubeError extends Error {
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** `Status.reason`, e.g. NotFound, Forbidden, Conflict, AlreadyExists. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'KubeError';
    this.status = status;
    this.reason = reason;
  }
}

export interface ListOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface InformerOptions<T extends KubeObject> extends ListOptions {
  /** What of an object is kept, of its metadata at least name, namespace, uid and resourceVersion; else all but `managedFields`. */
  keep?: (object: T) => T;
}

/** Keeps a live copy of all objects of a type; reconnects for ever, lists anew after 410 Gone. */
export interface Informer<T extends KubeObject = KubeObject> {
  get(namespace: string | undefined, name: string): T | undefined;
  list(): T[];
  /** Called for every change, and for what is there already. */
  on(listener: (event: WatchEvent<T>) => void): void;
  /** Resolves when the first list is in. */
  readonly synced: Promise<void>;
  stop(): void;
}

export interface KubeClient {
  /** For messages: context name and server URL. */
  readonly name: string;
  readonly server: string;
  /** Whether this is the local mesh of this machine. */
  readonly local: boolean;
  /** Namespace of the current context, `default` where none is set; the -n flag has been applied. */
  readonly namespace: string;

  version(): Promise<{ gitVersion: string }>;
  get<T extends KubeObject = KubeObject>(type: ResourceType, name: string, namespace?: string): Promise<T>;
  /** undefined in place of NotFound. */
  find<T extends KubeObject = KubeObject>(type: ResourceType, name: string, namespace?: string): Promise<T | undefined>;
  list<T extends KubeObject = KubeObject>(type: ResourceType, options?: ListOptions): Promise<T[]>;
  create<T extends KubeObject>(type: ResourceType, object: T, options?: { dryRun?: boolean }): Promise<T>;
  /** PUT; refused with Conflict where the resourceVersion is old. */
  replace<T extends KubeObject>(type: ResourceType, object: T): Promise<T>;
  /** Server-side apply with a field manager; finds the type by apiVersion and kind. */
  apply<T extends KubeObject>(
    object: T,
    options: { fieldManager: string; force?: boolean; dryRun?: boolean },
  ): Promise<T>;
  /** JSON merge patch. */
  patch<T extends KubeObject>(
    type: ResourceType,
    name: string,
    namespace: string | undefined,
    patch: object,
    subresource?: string,
  ): Promise<T>;
  delete(
    type: ResourceType,
    name: string,
    namespace?: string,
    options?: { gracePeriodSeconds?: number; propagation?: 'Foreground' | 'Background'; dryRun?: boolean },
  ): Promise<void>;
  /** The type of an apiVersion and kind, by discovery (cached); undefined where the server has none. */
  resolve(apiVersion: string, kind: string): Promise<ResourceType | undefined>;
  informer<T extends KubeObject>(type: ResourceType, options?: InformerOptions<T>): Informer<T>;
  /** Log lines of a container as they are stored; with `follow` until the container ends or the signal fires. */
  logs(
    namespace: string,
    pod: string,
    options: {
      container?: string;
      follow?: boolean;
      tailLines?: number;
      previous?: boolean;
      sinceSeconds?: number;
      timestamps?: boolean;
    },
    signal?: AbortSignal,
  ): Promise<NodeJS.ReadableStream>;
  /** One TCP connection to a port of a pod (its loopback included), through the API server. */
  portForward(namespace: string, pod: string, port: number): Promise<Duplex>;
  /** What the containers on a node use, by its kubelet. Needs the right to `get` nodes/proxy. */
  nodeStats(node: string): Promise<NodeStats>;
  close(): void;
}
