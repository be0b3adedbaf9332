/** The objects of the local mesh behind all doors: defaults, admission, validation, conflicts; then the store. */
import { randomBytes, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import { foregroundFinalizer, matches } from '../controllers/workload.ts';
import { Conflict, NotFound, type Objects, type Selector } from '../objects.ts';
import type { Store } from '../store/store.ts';
import { admit, isAdmitted } from './admission.ts';
import { customKind, hasStatus } from './custom.ts';
import { applyDefaults, mountServiceAccount } from './defaults.ts';
import { Events } from './events.ts';
import { type AddressPlan, assignAddress, assignNodePorts, keepNodePorts } from './service-ports.ts';
import { conflict, invalid, notFound, StatusError } from './status-error.ts';
import { servedTypes } from './types.ts';
import { checkName, conform, validate } from './validate.ts';

export const typeKey = (type: ResourceType): string => (type.group ? `${type.plural}.${type.group}` : type.plural);
const keyFor = (type: ResourceType, name: string, namespace: string | undefined): string =>
  type.namespaced ? `${namespace}/${name}` : name;
const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`;

/** The mesh's own controllers, as webhooks see them. */
const ownUser = 'system:mesh-local';

export interface RegistryOptions extends AddressPlan {
  store: Store;
  log: (message: string) => void;
}

export class Registry implements Objects {
  readonly #store: Store;
  readonly #events: Events;
  readonly #options: RegistryOptions;

  constructor(options: RegistryOptions) {
    this.#store = options.store;
    this.#events = new Events(options.store, options.log);
    this.#options = options;
  }

  get<T extends KubeObject>(type: ResourceType, name: string, namespace?: string): T | undefined {
    const stored = this.#store.get(typeKey(type), keyFor(type, name, namespace));
    return stored && (asVersion(type, stored) as T);
  }

  list<T extends KubeObject>(type: ResourceType, selector: Selector = {}): T[] {
    return (this.#store.list(typeKey(type)) as T[])
      .filter(
        (object) =>
          (!selector.namespace || object.metadata.namespace === selector.namespace) &&
          (!selector.labels || matches({ matchLabels: selector.labels }, object.metadata.labels)),
      )
      .map((object) => asVersion(type, object) as T);
  }

  async create<T extends KubeObject>(type: ResourceType, given: T, user = ownUser, dryRun = false): Promise<T> {
    let object = structuredClone(given) as KubeObject;
    object.metadata ??= {};
    const { metadata } = object;
    if (!metadata.name && metadata.generateName)
      metadata.name = metadata.generateName + randomBytes(4).toString('hex').slice(0, 5);
    checkName(type, object);
    if (this.get(type, metadata.name!, metadata.namespace)) {
      throw new StatusError(409, 'AlreadyExists', `${type.plural} "${metadata.name}" already exists`, {
        name: metadata.name,
        kind: type.plural,
      });
    }
    if (type.namespaced) {
      const namespace = this.get(resources.namespaces, metadata.namespace!);
      if (!namespace) throw notFound('namespaces', metadata.namespace!);
      if (namespace.metadata.deletionTimestamp) {
        throw new StatusError(
          403,
          'Forbidden',
          `${type.plural} "${metadata.name}" is forbidden: unable to create new content in namespace ${metadata.namespace} because it is being terminated`,
        );
      }
    }
    metadata.uid = randomUUID();
    metadata.creationTimestamp = now();
    metadata.generation = 1;
    delete metadata.resourceVersion;
    delete metadata.deletionTimestamp;
    const custom = customKind(this, type);
    if (custom && hasStatus(custom)) delete object.status;
    applyDefaults(object);
    object = await admit(this, { operation: 'CREATE', type, object, user, dryRun }, this.#options.log);
    applyDefaults(object);
    if (type.kind === 'Pod') this.#bindAccount(object);
    if (type.kind === 'Service') {
      assignAddress(this, this.#options, object);
      assignNodePorts(this, object);
    }
    if (custom) conform(type, custom, object);
    validate(type, object);
    if (dryRun) return object as T;
    // Admission may have taken its time: another may have been quicker.
    if (this.get(type, metadata.name!, metadata.namespace))
      throw new StatusError(409, 'AlreadyExists', `${type.plural} "${metadata.name}" already exists`);
    return this.#store.put(typeKey(type), keyFor(type, object.metadata.name!, object.metadata.namespace), object) as T;
  }

  async update<T extends KubeObject>(type: ResourceType, given: T): Promise<T> {
    return this.replace(type, given, undefined, { user: ownUser, dryRun: false });
  }

  /** A PUT, to the object or one subresource of it. Throws StatusError, Conflict, NotFound. */
  async replace<T extends KubeObject>(
    type: ResourceType,
    given: T,
    subresource: 'status' | undefined,
    by: { user: string; dryRun: boolean },
  ): Promise<T> {
    const { stored, next } = this.#prepare(type, given, subresource);
    if (same(next, stored)) return stored as T;
    const write = { operation: 'UPDATE' as const, type, object: next, before: stored, ...by };
    const asked = subresource ? { ...write, subresource } : write;
    if (!isAdmitted(this, asked)) return by.dryRun ? (next as T) : this.#put(type, next);
    const admitted = await admit(this, asked, this.#options.log);
    // The webhooks took their time: what they have seen must still be what is stored.
    const version = stored.metadata.resourceVersion!;
    const final = this.#prepare(
      type,
      { ...admitted, metadata: { ...admitted.metadata, resourceVersion: version } } as T,
      subresource,
    );
    return by.dryRun ? (final.next as T) : this.#put(type, final.next);
  }

  /** What is stored, and what would be. */
  #prepare(
    type: ResourceType,
    given: KubeObject,
    subresource: 'status' | undefined,
  ): { stored: KubeObject; next: KubeObject } {
    const { name, namespace } = given.metadata;
    const stored = this.get(type, name!, namespace);
    if (!stored)
      throw Object.assign(new NotFound(`${type.plural} "${name}" not found`), { status: notFound(type.plural, name!) });
    const version = given.metadata.resourceVersion;
    if (version && version !== stored.metadata.resourceVersion)
      throw Object.assign(new Conflict(`${type.plural} "${name}" has changed`), {
        status: conflict(type.plural, name!),
      });
    if (given.metadata.uid && given.metadata.uid !== stored.metadata.uid) throw conflict(type.plural, name!);
    let next: KubeObject;
    const custom = customKind(this, type);
    const apart = custom ? hasStatus(custom) : stored.status !== undefined && type.kind !== 'Event';
    if (subresource === 'status') {
      if (custom && !apart) throw notFound(`${type.plural}/status`, name!);
      next = { ...structuredClone(stored), status: structuredClone(given.status) };
      if (custom) conform(type, custom, next);
    } else {
      next = structuredClone(given) as KubeObject;
      const { uid, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds, generation } = stored.metadata;
      next.metadata = {
        ...next.metadata,
        uid: uid!,
        creationTimestamp: creationTimestamp!,
        generation: generation ?? 1,
        ...(deletionTimestamp
          ? { deletionTimestamp, ...(deletionGracePeriodSeconds === undefined ? {} : { deletionGracePeriodSeconds }) }
          : {}),
      };
      if (apart) {
        delete next.status;
        if (stored.status !== undefined) next.status = structuredClone(stored.status);
      }
      applyDefaults(next);
      if (custom) conform(type, custom, next);
      if (type.kind === 'Service') {
        const { clusterIP, clusterIPs } = stored.spec;
        if (next.spec.clusterIP && clusterIP && next.spec.clusterIP !== clusterIP)
          throw invalid('Service', name!, 'spec.clusterIP', 'field is immutable');
        if (next.spec.type !== 'ExternalName') Object.assign(next.spec, { clusterIP, clusterIPs });
        keepNodePorts(next, stored);
        assignNodePorts(this, next);
      }
      validate(type, next);
      const fixed = ['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job'].includes(type.kind);
      if (fixed && !isDeepStrictEqual(next.spec.selector, structuredClone(stored.spec.selector)))
        throw invalid(type.kind, name!, 'spec.selector', 'field is immutable');
      const counted = custom
        ? contentOf(next, apart) !== contentOf(stored, apart)
        : !isDeepStrictEqual(next.spec, structuredClone(stored.spec));
      if (counted) next.metadata.generation = (generation ?? 0) + 1;
    }
    return { stored, next };
  }

  /** Stores an object, or takes it out where it was only waiting for its last finalizer. */
  #put<T extends KubeObject>(type: ResourceType, next: KubeObject): T {
    const { name, namespace, deletionTimestamp, finalizers } = next.metadata;
    const key = keyFor(type, name!, namespace);
    if (deletionTimestamp && !finalizers?.length && type.kind !== 'Pod' && type.kind !== 'Namespace')
      return this.#store.remove(typeKey(type), key) as T;
    return this.#store.put(typeKey(type), key, next) as T;
  }

  async updateStatus<T extends KubeObject>(
    type: ResourceType,
    name: string,
    namespace: string | undefined,
    change: (status: T['status'], object: T) => T['status'],
  ): Promise<T | undefined> {
    const stored = this.get<T>(type, name, namespace);
    if (!stored) return undefined;
    const status = change(structuredClone(stored.status) as T['status'], stored);
    if (JSON.stringify(status) === JSON.stringify(stored.status)) return stored;
    return this.#store.put(typeKey(type), keyFor(type, name, namespace), { ...stored, status }) as T;
  }

  async delete(
    type: ResourceType,
    name: string,
    namespace?: string,
    options: DeleteOptions = {},
    user = ownUser,
  ): Promise<void> {
    const stored = this.get(type, name, namespace);
    if (!stored) return;
    const write = { operation: 'DELETE' as const, type, object: stored, user, dryRun: false };
    if (isAdmitted(this, write)) await admit(this, write, this.#options.log);
    const key = keyFor(type, name, namespace);
    if (type.kind === 'CustomResourceDefinition') await this.#deleteAll(stored);
    if (options.propagation === 'Orphan') this.#letGo(stored);
    if (options.propagation === 'Foreground' && this.#dependents(stored).some(({ blocks }) => blocks))
      return this.#waitForDependents(type, key, stored);
    const lives = type.kind === 'Pod' || type.kind === 'Namespace' || (stored.metadata.finalizers?.length ?? 0) > 0;
    if (!lives || (type.kind === 'Pod' && !stored.spec.nodeName)) {
      this.#store.remove(typeKey(type), key);
      return;
    }
    const grace = options.gracePeriodSeconds ?? stored.spec?.terminationGracePeriodSeconds ?? 30;
    const before = stored.metadata.deletionGracePeriodSeconds;
    if (stored.metadata.deletionTimestamp && (before === undefined || before <= grace)) return;
    this.#store.put(typeKey(type), key, {
      ...stored,
      ...(type.kind === 'Namespace' ? { status: { ...stored.status, phase: 'Terminating' } } : {}),
      metadata: {
        ...stored.metadata,
        deletionTimestamp: stored.metadata.deletionTimestamp ?? now(),
        ...(type.kind === 'Pod' ? { deletionGracePeriodSeconds: grace } : {}),
      },
    });
  }

  /** With a definition go its objects. */
  async #deleteAll(definition: KubeObject): Promise<void> {
    const custom = servedTypes(this).find(
      (type) => type.group === definition.spec.group && type.plural === definition.spec.names.plural,
    );
    if (!custom) return;
    // Nobody can serve their finalizers any more.
    for (const object of this.list(custom)) await this.remove(custom, object.metadata.name!, object.metadata.namespace);
  }

  /** Every object that names this one as an owner, and whether it holds up a foreground deletion. */
  #dependents(owner: KubeObject): { type: ResourceType; object: KubeObject; blocks: boolean }[] {
    const uid = owner.metadata.uid!;
    return servedTypes(this).flatMap((type) =>
      this.list(type).flatMap((object) => {
        const reference = object.metadata.ownerReferences?.find((one) => one.uid === uid);
        return reference ? [{ type, object, blocks: reference.blockOwnerDeletion === true }] : [];
      }),
    );
  }

  /** Dependents stay without their owner. */
  #letGo(owner: KubeObject): void {
    for (const { type, object } of this.#dependents(owner)) {
      const { name, namespace, ownerReferences = [] } = object.metadata;
      const left = ownerReferences.filter((one) => one.uid !== owner.metadata.uid);
      const metadata = { ...object.metadata, ownerReferences: left };
      this.#store.put(typeKey(type), keyFor(type, name!, namespace), { ...object, metadata });
    }
  }

  /** The garbage collector deletes what depends on it, then takes the finalizer away. */
  #waitForDependents(type: ResourceType, key: string, stored: KubeObject): void {
    const { finalizers = [], deletionTimestamp } = stored.metadata;
    if (finalizers.includes(foregroundFinalizer)) return;
    const metadata = {
      ...stored.metadata,
      finalizers: [...finalizers, foregroundFinalizer],
      deletionTimestamp: deletionTimestamp ?? now(),
    };
    this.#store.put(typeKey(type), key, { ...stored, metadata });
  }

  async remove(type: ResourceType, name: string, namespace?: string, uid?: string): Promise<void> {
    const stored = this.get(type, name, namespace);
    if (stored && (!uid || stored.metadata.uid === uid))
      this.#store.remove(typeKey(type), keyFor(type, name, namespace));
  }

  watch<T extends KubeObject>(type: ResourceType, listener: (event: WatchEvent<T>) => void): () => void {
    const key = typeKey(type);
    for (const object of this.#store.list(key)) listener({ type: 'ADDED', object: object as T });
    return this.#store.listen((change) => {
      if (change.type === key) listener(change.event as WatchEvent<T>);
    });
  }

  event(about: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#events.record(about, type, reason, message);
  }

  #bindAccount(pod: KubeObject): void {
    const name = pod.spec.serviceAccountName;
    const account = this.get(resources.serviceAccounts, name, pod.metadata.namespace);
    if (!account && name !== 'default') {
      throw new StatusError(
        403,
        'Forbidden',
        `pods "${pod.metadata.name}" is forbidden: error looking up service account ${pod.metadata.namespace}/${name}: serviceaccount "${name}" not found`,
      );
    }
    mountServiceAccount(pod, account?.automountServiceAccountToken ?? true);
  }
}

type DeleteOptions = NonNullable<Parameters<Objects['delete']>[3]>;

/** What the generation of a custom object counts changes of: all but metadata, and status where that is apart. */
function contentOf(
  { metadata: _metadata, apiVersion: _version, status, ...content }: KubeObject,
  apart: boolean,
): string {
  return JSON.stringify(apart ? content : { ...content, status });
}

/** An object in the version that is asked for; versions of one custom type differ in nothing but the name. */
function asVersion(type: ResourceType, object: KubeObject): KubeObject {
  const apiVersion = type.group ? `${type.group}/${type.version}` : type.version;
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

/** Whether two objects differ in nothing but their version. */
function same(a: KubeObject, b: KubeObject): boolean {
  const plain = (object: KubeObject) =>
    JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: '' } });
  return plain(a) === plain(b);
}
