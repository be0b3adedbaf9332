/** A live copy of all objects of a type: list, then watch; lists anew after 410; never gives up. */
import { createInterface } from 'node:readline';
import { type Informer, type InformerOptions, KubeError, type ListOptions } from './client.ts';
import { pathOf, query } from './paths.ts';
import type { Transport } from './transport.ts';
import type { Json, KubeObject, ResourceType, WatchEvent } from './types.ts';

const firstRetryMs = 200;
/** Short: what changes right after an outage of the API server must not wait for long. */
const lastRetryMs = 2_000;
const shortMs = 1_000;
/** Few: what is not kept of them is garbage at once, and a process keeps the memory it once took. */
const listedAtOnce = 100;
/** An API server sends a bookmark every minute: silent for longer, it is gone, and nothing else may ever tell. */
const silentMs = 150_000;

/** Hears what does not get on and why, again and again as long as it does not; then once without a reason. */
export type TroubleListener = (what: string, why: string | undefined) => void;

export class ListWatch<T extends KubeObject> implements Informer<T> {
  readonly #transport: Transport;
  readonly #type: ResourceType;
  readonly #options: ListOptions;
  readonly #keep: (object: T) => T;
  readonly #objects = new Map<string, T>();
  readonly #listeners: ((event: WatchEvent<T>) => void)[] = [];
  readonly #abort = new AbortController();
  readonly #onTrouble: TroubleListener;
  readonly #silentMs: number;
  readonly synced: Promise<void>;
  #version = '';
  #failures = 0;
  #troubled = false;
  #firstList: () => void = () => {};

  constructor(
    transport: Transport,
    type: ResourceType,
    options: InformerOptions<T>,
    onTrouble: TroubleListener,
    silentLimitMs = silentMs,
  ) {
    this.#onTrouble = onTrouble;
    this.#silentMs = silentLimitMs;
    this.#transport = transport;
    this.#type = type;
    const { keep = withoutManagedFields, ...selectors } = options;
    this.#keep = keep;
    this.#options = selectors;
    this.synced = new Promise((resolve) => {
      this.#firstList = resolve;
    });
    void this.#run();
  }

  get(namespace: string | undefined, name: string): T | undefined {
    return this.#objects.get(`${namespace ?? ''}/${name}`);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  on(listener: (event: WatchEvent<T>) => void): void {
    this.#listeners.push(listener);
    for (const object of this.#objects.values()) listener({ type: 'ADDED', object });
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      try {
        if (this.#version === '') await this.#list();
        const began = performance.now();
        await this.#watch();
        // One that ends at once was cut off by something in between: asking on without a pause would be a busy loop.
        if (performance.now() - began < shortMs) throw new KubeError(0, 'ShortWatch', 'the watch ended at once');
        this.#failures = 0;
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        if (error instanceof KubeError && (error.status === 410 || error.reason === 'Expired')) {
          this.#version = '';
          continue;
        }
        // One cut watch is nothing; what fails again needs somebody.
        if (this.#failures > 0) this.#tell((error as Error).message);
        const wait = Math.min(firstRetryMs * 2 ** this.#failures++, lastRetryMs) * (0.5 + Math.random());
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #tell(trouble: string | undefined): void {
    if (trouble === undefined && !this.#troubled) return;
    this.#troubled = trouble !== undefined;
    this.#onTrouble(`${this.#type.plural} cannot be followed`, trouble);
  }

  /** Page by page, so that the text of a large cluster is never in memory as a whole. */
  async #list(): Promise<void> {
    const { namespace, ...selectors } = this.#options;
    const apiVersion = this.#type.group ? `${this.#type.group}/${this.#type.version}` : this.#type.version;
    const seen = new Set<string>();
    let version: string | undefined;
    for (let token: string | undefined; ; ) {
      const page = await this.#transport.json({
        method: 'GET',
        path: pathOf(this.#type, namespace) + query({ ...selectors, limit: listedAtOnce, continue: token }),
        signal: this.#abort.signal,
      });
      for (const item of page.items as T[]) seen.add(this.#listed({ ...item, apiVersion, kind: this.#type.kind } as T));
      // All pages are of one version; a server that takes no limit has but one.
      version ??= page.metadata.resourceVersion as string;
      token = page.metadata.continue;
      if (!token) break;
    }
    for (const [key, object] of this.#objects) if (!seen.has(key)) this.#apply('DELETED', object);
    this.#version = version;
    this.#failures = 0;
    this.#firstList();
  }

  #listed(object: T): string {
    const key = keyOf(object);
    const { resourceVersion, uid } = object.metadata;
    const known = this.#objects.get(key);
    if (known?.metadata.resourceVersion !== resourceVersion || known?.metadata.uid !== uid)
      this.#apply(known ? 'MODIFIED' : 'ADDED', this.#keep(object));
    return key;
  }

  async #watch(): Promise<void> {
    const { namespace, ...selectors } = this.#options;
    const path =
      pathOf(this.#type, namespace) +
      query({
        ...selectors,
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: this.#version,
        timeoutSeconds: 290 + Math.floor(Math.random() * 60),
      });
    const response = await this.#transport.open({ method: 'GET', path, stream: true, signal: this.#abort.signal });
    this.#tell(undefined);
    const lines = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY });
    // However the connection ends, and whether anyone tells: the loop below must end with it.
    response.on('close', () => lines.close());
    const silence = setTimeout(() => response.destroy(), this.#silentMs);
    response.on('data', () => silence.refresh());
    try {
      for await (const line of lines) if (line !== '') this.#take(JSON.parse(line) as WatchEvent<T>);
    } finally {
      clearTimeout(silence);
      // Left open after an error event, it would end this process when it is cut off: nobody listens any more.
      response.on('error', () => {});
      response.destroy();
    }
  }

  #take(event: WatchEvent<T>): void {
    if (event.type === 'ERROR') {
      const status = event.object as Json;
      throw new KubeError(status.code ?? 0, status.reason ?? 'Unknown', status.message ?? 'the watch failed');
    }
    if (event.type !== 'BOOKMARK') this.#apply(event.type, this.#keep(event.object));
    this.#version = event.object.metadata.resourceVersion ?? this.#version;
  }

  #apply(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T): void {
    const key = keyOf(object);
    if (type === 'DELETED') this.#objects.delete(key);
    else this.#objects.set(key, object);
    for (const listener of this.#listeners) listener({ type, object });
  }
}

const keyOf = (object: KubeObject): string => `${object.metadata.namespace ?? ''}/${object.metadata.name}`;

function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
