/** Garbage collection: an object whose every owner is gone goes too. */
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';

/** Follows owner references over all the types given; `start` returns the way to stop. */
export class GarbageCollector {
  readonly #objects: Objects;
  readonly #log: (message: string) => void;
  /** Owner uid → objects that name it. */
  readonly #dependents = new Map<string, Map<string, { type: ResourceType; object: KubeObject }>>();
  readonly #live = new Set<string>();
  readonly #stops: (() => void)[] = [];
  #settled = false;

  constructor(objects: Objects, log: (message: string) => void) {
    this.#objects = objects;
    this.#log = log;
  }

  watch(type: ResourceType): void {
    this.#stops.push(
      this.#objects.watch(type, ({ type: change, object }) => {
        if (change === 'DELETED') this.#gone(object);
        else this.#seen(type, object);
      }),
    );
  }

  /** After the first objects of all types are in: those whose owner went while nobody watched go now. */
  settle(): void {
    this.#settled = true;
    for (const [owner, dependents] of this.#dependents) {
      if (!this.#live.has(owner)) for (const { type, object } of dependents.values()) this.#collect(type, object);
    }
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #seen(type: ResourceType, object: KubeObject): void {
    const uid = object.metadata.uid!;
    this.#live.add(uid);
    for (const owner of object.metadata.ownerReferences ?? []) {
      let dependents = this.#dependents.get(owner.uid);
      if (!dependents) {
        dependents = new Map();
        this.#dependents.set(owner.uid, dependents);
      }
      dependents.set(uid, { type, object });
      if (this.#settled && !this.#live.has(owner.uid)) this.#collect(type, object);
    }
  }

  #gone(object: KubeObject): void {
    const uid = object.metadata.uid!;
    this.#live.delete(uid);
    for (const owner of object.metadata.ownerReferences ?? []) {
      const dependents = this.#dependents.get(owner.uid);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#dependents.delete(owner.uid);
    }
    const orphans = this.#dependents.get(uid);
    this.#dependents.delete(uid);
    for (const { type, object: orphan } of orphans?.values() ?? []) this.#collect(type, orphan);
  }

  #collect(type: ResourceType, object: KubeObject): void {
    const owners = object.metadata.ownerReferences ?? [];
    if (object.metadata.deletionTimestamp || owners.some((owner) => this.#live.has(owner.uid))) return;
    const { name, namespace } = object.metadata;
    this.#objects.delete(type, name!, namespace, { propagation: 'Background' }).catch((error: Error) => {
      this.#log(`garbage collection of ${type.plural}/${name}: ${error.message}`);
    });
  }
}
