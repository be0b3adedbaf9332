/** Stands for Kubernetes in tests: objects in memory, informers that follow at once, tokens made by the test. */
import type { Duplex } from 'node:stream';
import { type Informer, type InformerOptions, type KubeClient, KubeError, type ListOptions } from '../kube/client.ts';
import type { Json, KubeObject, ResourceType, WatchEvent } from '../kube/types.ts';

type Listener = (type: ResourceType, event: WatchEvent) => void;

const keyOf = (type: ResourceType, name: string, namespace: string | undefined): string =>
  `${type.plural}.${type.group}/${type.namespaced ? (namespace ?? '') : ''}/${name}`;

function merge(target: Json, patch: Json): Json {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

function unavailable(what: string): never {
  throw new KubeError(0, 'NotSupported', `the fake has no ${what}`);
}

export class FakeKube implements KubeClient {
  readonly name = 'fake';
  readonly server = 'https://fake';
  readonly local = false;
  readonly namespace = 'default';
  /** Tokens that a review accepts. */
  readonly tokens = new Map<string, { username: string; audiences: string[] }>();
  /** Called before a write of an object; throws to make the write fail, or writes first to win a race. */
  beforeWrite: ((verb: string, object: KubeObject) => void | Promise<void>) | undefined;
  readonly #objects = new Map<string, { type: ResourceType; object: KubeObject }>();
  readonly #listeners = new Set<Listener>();
  #count = 0;

  async version(): Promise<{ gitVersion: string }> {
    return { gitVersion: 'v1.36.0' };
  }

  /** Stores an object as it is, new or not: what another client of the API server did. */
  put<T extends KubeObject>(type: ResourceType, object: T): T {
    const { name, namespace } = object.metadata;
    const key = keyOf(type, name!, namespace);
    const known = this.#objects.get(key);
    const stored = structuredClone(object);
    stored.metadata.uid ??= known?.object.metadata.uid ?? `uid-${++this.#count}`;
    stored.metadata.resourceVersion = String(++this.#count);
    this.#objects.set(key, { type, object: stored });
    this.#tell(type, known ? 'MODIFIED' : 'ADDED', stored);
    return structuredClone(stored);
  }

  /** Removes an object at once. */
  remove(type: ResourceType, name: string, namespace?: string): void {
    const key = keyOf(type, name, namespace);
    const known = this.#objects.get(key);
    if (!known) throw new KubeError(404, 'NotFound', `${type.plural} "${name}" not found`);
    this.#objects.delete(key);
    this.#tell(type, 'DELETED', known.object);
  }

  async get<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): Promise<T> {
    const found = await this.find<T>(type, name, namespace);
    if (!found) throw new KubeError(404, 'NotFound', `${type.plural} "${name}" not found`);
    return found;
  }

  async find<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): Promise<T | undefined> {
    const stored = this.#objects.get(keyOf(type, name, namespace))?.object;
    return stored && (structuredClone(stored) as T);
  }

  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<T[]> {
    return structuredClone(this.#matching(type, options)) as T[];
  }

  async create<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    if (type.plural === 'tokenreviews') return this.#review(object);
    await this.beforeWrite?.('create', object);
    const { name, namespace } = object.metadata;
    if (this.#objects.has(keyOf(type, name!, namespace)))
      throw new KubeError(409, 'AlreadyExists', `${type.plural} "${name}" already exists`);
    return this.put(type, object);
  }

  async replace<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    await this.beforeWrite?.('replace', object);
    const { name, namespace, resourceVersion } = object.metadata;
    // Checked and written without a pause between: one of two writers that race must fail.
    const known = this.#objects.get(keyOf(type, name!, namespace))?.object;
    if (!known) throw new KubeError(404, 'NotFound', `${type.plural} "${name}" not found`);
    if (resourceVersion && resourceVersion !== known.metadata.resourceVersion)
      throw new KubeError(409, 'Conflict', `${type.plural} "${name}" has been modified`);
    return this.put(type, object);
  }

  async patch<T extends KubeObject>(
    type: ResourceType,
    name: string,
    namespace: string | undefined,
    patch: object,
  ): Promise<T> {
    return this.put(type, merge(await this.get<T>(type, name, namespace), patch) as T);
  }

  async delete(type: ResourceType, name: string, namespace?: string): Promise<void> {
    this.remove(type, name, namespace);
  }

  informer<T extends KubeObject>(type: ResourceType, options: InformerOptions<T> = {}): Informer<T> {
    const own = new Set<Listener>();
    const { keep = (object: T) => object } = options;
    const copies = (): T[] => (this.#matching(type, options) as T[]).map(keep);
    return {
      get: (namespace, name) => {
        const found = this.#objects.get(keyOf(type, name, namespace))?.object;
        return found && matches(found, options) ? keep(found as T) : undefined;
      },
      list: copies,
      on: (listener) => {
        const follow: Listener = (changed, event) => {
          if (changed.plural === type.plural && changed.group === type.group && matches(event.object, options))
            listener({ type: event.type, object: keep(event.object as T) });
        };
        own.add(follow);
        this.#listeners.add(follow);
        for (const object of copies()) listener({ type: 'ADDED', object });
      },
      synced: Promise.resolve(),
      stop: () => {
        for (const follow of own) this.#listeners.delete(follow);
      },
    };
  }

  apply(): never {
    return unavailable('apply');
  }

  resolve(): never {
    return unavailable('discovery');
  }

  logs(): never {
    return unavailable('logs');
  }

  portForward(): Promise<Duplex> {
    return unavailable('port-forward');
  }

  nodeStats(): never {
    return unavailable('kubelet');
  }

  close(): void {
    this.#listeners.clear();
  }

  #matching(type: ResourceType, options: ListOptions): KubeObject[] {
    return [...this.#objects.values()]
      .filter((one) => one.type.plural === type.plural && one.type.group === type.group)
      .map((one) => one.object)
      .filter((object) => matches(object, options));
  }

  #tell(type: ResourceType, change: WatchEvent['type'], object: KubeObject): void {
    for (const listener of [...this.#listeners]) listener(type, { type: change, object });
  }

  #review<T extends KubeObject>(review: T): T {
    const known = this.tokens.get(review.spec.token);
    const wanted: string[] = review.spec.audiences ?? [];
    const audiences = known?.audiences.filter((one) => wanted.includes(one)) ?? [];
    const status =
      known && audiences.length > 0
        ? { authenticated: true, user: { username: known.username }, audiences }
        : { authenticated: false, error: 'invalid token' };
    return { ...review, status };
  }
}

function matches(object: KubeObject, options: ListOptions): boolean {
  if (options.namespace && object.metadata.namespace !== options.namespace) return false;
  const name = /^metadata\.name=(.+)$/.exec(options.fieldSelector ?? '')?.[1];
  return name === undefined || object.metadata.name === name;
}
