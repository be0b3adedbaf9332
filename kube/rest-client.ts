/** The Kubernetes client: plain REST, typed by resources.ts, the rest by discovery. */
import type { Duplex } from 'node:stream';
import { type Informer, type InformerOptions, type KubeClient, KubeError, type ListOptions } from './client.ts';
import { ListWatch, type TroubleListener } from './informer.ts';
import type { NodeStats } from './node-stats.ts';
import { pathOf, query } from './paths.ts';
import { portForward } from './port-forward.ts';
import { resources } from './resources.ts';
import { type Endpoint, Transport } from './transport.ts';
import type { Json, KubeObject, ResourceType } from './types.ts';

const pageSize = 500;

export interface RestClientOptions {
  endpoint: Endpoint;
  name: string;
  namespace: string;
  local: boolean;
  /** Hears of informers that do not get on. */
  onTrouble?: TroubleListener;
}

export class RestClient implements KubeClient {
  readonly name: string;
  readonly namespace: string;
  readonly local: boolean;
  readonly #transport: Transport;
  readonly #discovered = new Map<string, Promise<ResourceType[]>>();
  readonly #informers: Informer[] = [];
  readonly #onTrouble: TroubleListener;

  constructor(options: RestClientOptions) {
    this.name = options.name;
    this.namespace = options.namespace;
    this.local = options.local;
    this.#onTrouble = options.onTrouble ?? (() => {});
    this.#transport = new Transport(options.endpoint);
  }

  get server(): string {
    return this.#transport.endpoint.server;
  }

  version(): Promise<{ gitVersion: string }> {
    return this.#transport.json({ method: 'GET', path: '/version' });
  }

  get<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): Promise<T> {
    return this.#transport.json<T>({ method: 'GET', path: pathOf(type, namespace, name) });
  }

  async find<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): Promise<T | undefined> {
    try {
      return await this.get<T>(type, name, namespace);
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<T[]> {
    const { namespace, ...selectors } = options;
    const items: T[] = [];
    for (let token: string | undefined; ; ) {
      const page = await this.#transport.json({
        method: 'GET',
        path: pathOf(type, namespace) + query({ ...selectors, limit: pageSize, continue: token }),
      });
      const apiVersion = type.group ? `${type.group}/${type.version}` : type.version;
      items.push(...(page.items as T[]).map((item) => ({ ...item, apiVersion, kind: type.kind })));
      token = page.metadata?.continue;
      if (!token) return items;
    }
  }

  create<T extends KubeObject>(type: ResourceType, object: T, options: { dryRun?: boolean } = {}): Promise<T> {
    return this.#transport.json<T>({
      method: 'POST',
      path:
        pathOf(type, object.metadata?.namespace) +
        query({ dryRun: options.dryRun ? 'All' : undefined, fieldManager: 'mesh' }),
      body: JSON.stringify(object),
    });
  }

  replace<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    return this.#transport.json<T>({
      method: 'PUT',
      path: pathOf(type, object.metadata.namespace, object.metadata.name) + query({ fieldManager: 'mesh' }),
      body: JSON.stringify(object),
    });
  }

  async apply<T extends KubeObject>(
    object: T,
    options: { fieldManager: string; force?: boolean; dryRun?: boolean },
  ): Promise<T> {
    const type = await this.resolve(object.apiVersion, object.kind);
    if (!type) throw new KubeError(404, 'NotFound', `the server knows no ${object.kind} in ${object.apiVersion}`);
    const namespace = type.namespaced ? (object.metadata.namespace ?? this.namespace) : undefined;
    const path =
      pathOf(type, namespace, object.metadata.name) +
      query({ fieldManager: options.fieldManager, force: options.force, dryRun: options.dryRun ? 'All' : undefined });
    return this.#transport.json<T>({
      method: 'PATCH',
      path,
      body: JSON.stringify(object),
      contentType: 'application/apply-patch+yaml',
    });
  }

  patch<T extends KubeObject>(
    type: ResourceType,
    name: string,
    namespace: string | undefined,
    patch: object,
    subresource?: string,
  ): Promise<T> {
    return this.#transport.json<T>({
      method: 'PATCH',
      path: pathOf(type, namespace, name, subresource),
      body: JSON.stringify(patch),
      contentType: 'application/merge-patch+json',
    });
  }

  async delete(
    type: ResourceType,
    name: string,
    namespace?: string,
    options: { gracePeriodSeconds?: number; propagation?: 'Foreground' | 'Background'; dryRun?: boolean } = {},
  ): Promise<void> {
    const body: Json = {
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      propagationPolicy: options.propagation ?? 'Background',
    };
    if (options.gracePeriodSeconds !== undefined) body.gracePeriodSeconds = options.gracePeriodSeconds;
    await this.#transport.json({
      method: 'DELETE',
      path: pathOf(type, namespace, name) + query({ dryRun: options.dryRun ? 'All' : undefined }),
      body: JSON.stringify(body),
    });
  }

  async resolve(apiVersion: string, kind: string): Promise<ResourceType | undefined> {
    const [group, version] = apiVersion.includes('/') ? (apiVersion.split('/') as [string, string]) : ['', apiVersion];
    const known = Object.values<ResourceType>(resources).find(
      (type) => type.group === group && type.version === version && type.kind === kind,
    );
    if (known) return known;
    let types = this.#discovered.get(apiVersion);
    if (!types) {
      types = this.#discover(group, version);
      this.#discovered.set(apiVersion, types);
      types.catch(() => this.#discovered.delete(apiVersion));
    }
    return (await types).find((type) => type.kind === kind);
  }

  async #discover(group: string, version: string): Promise<ResourceType[]> {
    try {
      const list = await this.#transport.json({
        method: 'GET',
        path: group ? `/apis/${group}/${version}` : `/api/${version}`,
      });
      return (list.resources as Json[])
        .filter((one) => !one.name.includes('/'))
        .map((one) => ({ group, version, plural: one.name, kind: one.kind, namespaced: one.namespaced }));
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return [];
      throw error;
    }
  }

  informer<T extends KubeObject>(type: ResourceType, options: InformerOptions<T> = {}): Informer<T> {
    const informer = new ListWatch<T>(this.#transport, type, options, this.#onTrouble);
    this.#informers.push(informer);
    return informer;
  }

  logs(
    namespace: string,
    pod: string,
    options: Parameters<KubeClient['logs']>[2],
    signal?: AbortSignal,
  ): Promise<NodeJS.ReadableStream> {
    return this.#transport.open({
      method: 'GET',
      path: pathOf(resources.pods, namespace, pod, 'log') + query({ ...options }),
      stream: true,
      ...(signal ? { signal } : {}),
    });
  }

  portForward(namespace: string, pod: string, port: number): Promise<Duplex> {
    return portForward(this.#transport, namespace, pod, port);
  }

  nodeStats(node: string): Promise<NodeStats> {
    return this.#transport.json({
      method: 'GET',
      path: pathOf(resources.nodes, undefined, node, 'proxy/stats/summary'),
    });
  }

  close(): void {
    for (const informer of this.#informers) informer.stop();
    this.#transport.close();
  }
}
