/** Garbage collection: an object whose every owner is gone goes too. */
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { foregroundFinalizer } from './workload.ts';

/** Follows owner references over all the types given; `start` returns the way to stop. */
export class GarbageCollector {
  readonly #objects: Objects;
  readonly #log: (message: string) => void;
  /** Owner uid → objects that name it. */
  readonly #dependents = new Map<string, Map<string, { type: ResourceType; object: KubeObject }>>();
  /** Uid → the owners it was last seen with. */
  readonly #owners = new Map<string, Set<string>>();
  readonly #live = new Set<string>();
  /** Objects in foreground deletion, by uid. */
  readonly #waiting = new Map<string, { type: ResourceType; object: KubeObject }>();
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
    for (const uid of this.#waiting.keys()) this.#advance(uid);
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #seen(type: ResourceType, object: KubeObject): void {
    const uid = object.metadata.uid!;
    this.#live.add(uid);
    if (object.metadata.finalizers?.includes(foregroundFinalizer)) {
      this.#waiting.set(uid, { type, object });
      if (this.#settled) this.#advance(uid);
    }
    this.#forget(uid, object);
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

  /** An object may have been let go by an owner since it was last seen. */
  #forget(uid: string, object: KubeObject): void {
    const now = new Set((object.metadata.ownerReferences ?? []).map((owner) => owner.uid));
    for (const before of this.#owners.get(uid) ?? []) {
      if (now.has(before)) continue;
      this.#dependents.get(before)?.delete(uid);
      this.#advance(before);
    }
    this.#owners.set(uid, now);
  }

  /** Deletes what an owner in foreground deletion waits for; when nothing is left, the owner goes. */
  #advance(uid: string): void {
    const waiting = this.#waiting.get(uid);
    if (!waiting) return;
    const blocking = [...(this.#dependents.get(uid)?.values() ?? [])].filter(({ object }) =>
      object.metadata.ownerReferences?.some((owner) => owner.uid === uid && owner.blockOwnerDeletion),
    );
    for (const { type, object } of blocking)
      if (!object.metadata.deletionTimestamp) this.#delete(type, object, 'Foreground');
    if (blocking.length === 0) void this.#release(waiting.type, waiting.object);
  }

  async #release(type: ResourceType, object: KubeObject): Promise<void> {
    const { name, namespace } = object.metadata;
    try {
      const stored = this.#objects.get(type, name!, namespace);
      if (!stored) return;
      const next = structuredClone(stored);
      next.metadata.finalizers = (next.metadata.finalizers ?? []).filter((one) => one !== foregroundFinalizer);
      await this.#objects.update(type, next);
    } catch (error) {
      this.#log(`foreground deletion of ${type.plural}/${name}: ${(error as Error).message}`);
    }
  }

  #gone(object: KubeObject): void {
    const uid = object.metadata.uid!;
    this.#live.delete(uid);
    this.#waiting.delete(uid);
    for (const owner of object.metadata.ownerReferences ?? []) {
      const dependents = this.#dependents.get(owner.uid);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#dependents.delete(owner.uid);
      this.#advance(owner.uid);
    }
    this.#owners.delete(uid);
    const orphans = this.#dependents.get(uid);
    this.#dependents.delete(uid);
    for (const { type, object: orphan } of orphans?.values() ?? []) this.#collect(type, orphan);
  }

  #collect(type: ResourceType, object: KubeObject): void {
    const owners = object.metadata.ownerReferences ?? [];
    if (object.metadata.deletionTimestamp || owners.some((owner) => this.#live.has(owner.uid))) return;
    this.#delete(type, object, 'Background');
  }

  #delete(type: ResourceType, object: KubeObject, propagation: 'Background' | 'Foreground'): void {
    const { name, namespace } = object.metadata;
    this.#objects.delete(type, name!, namespace, { propagation }).catch((error: Error) => {
      this.#log(`garbage collection of ${type.plural}/${name}: ${error.message}`);
    });
  }
}
