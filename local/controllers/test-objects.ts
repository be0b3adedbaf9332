/** Objects in memory, for the controllers' tests; pods are run by the test itself. */
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import { Conflict, NotFound, type Objects, type Selector } from '../objects.ts';

export class MemoryObjects implements Objects {
  readonly events: string[] = [];
  readonly #stored = new Map<string, KubeObject>();
  readonly #listeners = new Map<string, Set<(event: WatchEvent) => void>>();
  #version = 0;

  #key(type: ResourceType, name: string, namespace?: string): string {
    return `${type.plural}/${type.namespaced ? namespace : ''}/${name}`;
  }

  #put(type: ResourceType, object: KubeObject, change: WatchEvent['type']): KubeObject {
    const next = structuredClone(object);
    next.metadata.resourceVersion = String(++this.#version);
    const key = this.#key(type, next.metadata.name!, next.metadata.namespace);
    if (change === 'DELETED') this.#stored.delete(key);
    else this.#stored.set(key, next);
    for (const listener of this.#listeners.get(type.plural) ?? []) listener({ type: change, object: next });
    return next;
  }

  get<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): T | undefined {
    return this.#stored.get(this.#key(type, name, namespace)) as T | undefined;
  }

  list<T extends KubeObject>(type: ResourceType, selector: Selector = {}): T[] {
    return [...this.#stored]
      .filter(([key]) => key.startsWith(`${type.plural}/`))
      .map(([, object]) => object as T)
      .filter((object) => !selector.namespace || object.metadata.namespace === selector.namespace)
      .filter((object) => Object.entries(selector.labels ?? {}).every(([k, v]) => object.metadata.labels?.[k] === v));
  }

  async create<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    const next = structuredClone(object);
    next.metadata.name ??= `${object.metadata.generateName}${(this.#version + 1).toString(36).padStart(5, '0')}`;
    if (this.get(type, next.metadata.name, next.metadata.namespace))
      throw new Conflict(`${next.metadata.name} is there`);
    next.metadata.uid = `uid-${++this.#version}`;
    next.metadata.generation = 1;
    next.metadata.creationTimestamp = new Date().toISOString();
    return this.#put(type, next, 'ADDED') as T;
  }

  async update<T extends KubeObject>(type: ResourceType, object: T): Promise<T> {
    const stored = this.get(type, object.metadata.name!, object.metadata.namespace);
    if (!stored) throw new NotFound(object.metadata.name);
    if (stored.metadata.resourceVersion !== object.metadata.resourceVersion) throw new Conflict(object.metadata.name);
    const next = structuredClone(object);
    if (JSON.stringify(stored.spec) !== JSON.stringify(object.spec))
      next.metadata.generation = (stored.metadata.generation ?? 0) + 1;
    return this.#put(type, next, 'MODIFIED') as T;
  }

  async updateStatus<T extends KubeObject>(
    type: ResourceType,
    name: string,
    namespace: string | undefined,
    change: (status: T['status'], object: T) => T['status'],
  ): Promise<T | undefined> {
    const stored = this.get<T>(type, name, namespace);
    if (!stored) return undefined;
    const status = change(stored.status, stored);
    if (JSON.stringify(status) === JSON.stringify(stored.status)) return stored;
    return this.#put(type, { ...stored, status }, 'MODIFIED') as T;
  }

  async delete(type: ResourceType, name: string, namespace?: string): Promise<void> {
    const stored = this.get(type, name, namespace);
    if (!stored) return;
    if ((type.plural === 'pods' && stored.status?.phase === 'Running') || type.plural === 'namespaces') {
      this.#put(
        type,
        { ...stored, metadata: { ...stored.metadata, deletionTimestamp: new Date().toISOString() } },
        'MODIFIED',
      );
    } else this.#put(type, stored, 'DELETED');
  }

  async remove(type: ResourceType, name: string, namespace?: string): Promise<void> {
    const stored = this.get(type, name, namespace);
    if (stored) this.#put(type, stored, 'DELETED');
  }

  watch<T extends KubeObject>(type: ResourceType, listener: (event: WatchEvent<T>) => void): () => void {
    for (const object of this.list<T>(type)) listener({ type: 'ADDED', object });
    const listeners = this.#listeners.get(type.plural) ?? new Set();
    this.#listeners.set(type.plural, listeners);
    const added = listener as (event: WatchEvent) => void;
    listeners.add(added);
    return () => listeners.delete(added);
  }

  event(_about: KubeObject, _type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.events.push(`${reason}: ${message}`);
  }
}
