/** The objects of the local mesh behind all doors: defaults, admission, validation, conflicts; then the store. */
import { randomBytes, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType, WatchEvent } from '../../kube/types.ts';
import { matches } from '../controllers/workload.ts';
import { Conflict, NotFound, type Objects, type Selector } from '../objects.ts';
import type { Store } from '../store/store.ts';
import { admit } from './admission.ts';
import { applyDefaults, mountServiceAccount } from './defaults.ts';
import { Events } from './events.ts';
import { conflict, invalid, notFound, StatusError } from './status-error.ts';

export const typeKey = (type: ResourceType): string => (type.group ? `${type.plural}.${type.group}` : type.plural);
const keyFor = (type: ResourceType, name: string, namespace: string | undefined): string =>
  type.namespaced ? `${namespace}/${name}` : name;
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`;

export interface RegistryOptions {
  store: Store;
  log: (message: string) => void;
  /** First three numbers of service addresses are fixed; the network is /16: `10.96`. */
  servicePrefix: string;
  fixedServices: Record<string, string>;
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
    return this.#store.get(typeKey(type), keyFor(type, name, namespace)) as T | undefined;
  }

  list<T extends KubeObject>(type: ResourceType, selector: Selector = {}): T[] {
    return (this.#store.list(typeKey(type)) as T[]).filter(
      (object) =>
        (!selector.namespace || object.metadata.namespace === selector.namespace) &&
        (!selector.labels || matches({ matchLabels: selector.labels }, object.metadata.labels)),
    );
  }

  async create<T extends KubeObject>(
    type: ResourceType,
    given: T,
    user = 'system:mesh-local',
    dryRun = false,
  ): Promise<T> {
    let object = structuredClone(given) as KubeObject;
    object.metadata ??= {};
    const { metadata } = object;
    if (!metadata.name && metadata.generateName)
      metadata.name = metadata.generateName + randomBytes(4).toString('hex').slice(0, 5);
    this.#checkName(type, object);
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
    applyDefaults(object);
    object = await admit(this, type, object, user, this.#options.log);
    applyDefaults(object);
    if (type.kind === 'Pod') this.#bindAccount(object);
    if (type.kind === 'Service') this.#assignAddress(object);
    this.#validate(type, object);
    if (dryRun) return object as T;
    // Admission may have taken its time: another may have been quicker.
    if (this.get(type, metadata.name!, metadata.namespace))
      throw new StatusError(409, 'AlreadyExists', `${type.plural} "${metadata.name}" already exists`);
    return this.#store.put(typeKey(type), keyFor(type, object.metadata.name!, object.metadata.namespace), object) as T;
  }

  async update<T extends KubeObject>(type: ResourceType, given: T): Promise<T> {
    return this.replace(type, given, undefined, false);
  }

  /** A PUT, to the object or one subresource of it. Throws StatusError, Conflict, NotFound. */
  replace<T extends KubeObject>(type: ResourceType, given: T, subresource: 'status' | undefined, dryRun: boolean): T {
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
    if (subresource === 'status') next = { ...stored, status: structuredClone(given.status) };
    else {
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
      applyDefaults(next);
      if (stored.status !== undefined && type.kind !== 'Event') next.status = stored.status;
      if (type.kind === 'Service') {
        const { clusterIP, clusterIPs } = stored.spec;
        if (next.spec.clusterIP && clusterIP && next.spec.clusterIP !== clusterIP)
          throw invalid('Service', name!, 'spec.clusterIP', 'field is immutable');
        if (next.spec.type !== 'ExternalName') Object.assign(next.spec, { clusterIP, clusterIPs });
      }
      this.#validate(type, next);
      const fixed = ['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job'].includes(type.kind);
      if (fixed && !isDeepStrictEqual(next.spec.selector, structuredClone(stored.spec.selector)))
        throw invalid(type.kind, name!, 'spec.selector', 'field is immutable');
      if (JSON.stringify(next.spec) !== JSON.stringify(stored.spec)) next.metadata.generation = (generation ?? 0) + 1;
    }
    if (same(next, stored)) return stored as T;
    if (dryRun) return next as T;
    if (
      next.metadata.deletionTimestamp &&
      !next.metadata.finalizers?.length &&
      type.kind !== 'Pod' &&
      type.kind !== 'Namespace'
    ) {
      return this.#store.remove(typeKey(type), keyFor(type, name!, namespace)) as T;
    }
    return this.#store.put(typeKey(type), keyFor(type, name!, namespace), next) as T;
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
    options: { gracePeriodSeconds?: number; propagation?: 'Foreground' | 'Background' | 'Orphan' } = {},
  ): Promise<void> {
    const stored = this.get(type, name, namespace);
    if (!stored) return;
    const key = keyFor(type, name, namespace);
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

  #checkName(type: ResourceType, object: KubeObject): void {
    const { name } = object.metadata;
    if (!name) throw invalid(type.kind, '', 'metadata.name', 'Required value: name or generateName is required');
    const strict = type.kind === 'Service' || type.kind === 'Namespace';
    const rbac = type.group === 'rbac.authorization.k8s.io';
    if (!rbac && (name.length > (strict ? 63 : 253) || !(strict ? label : subdomain).test(name))) {
      throw invalid(
        type.kind,
        name,
        'metadata.name',
        `Invalid value: "${name}": a lowercase RFC 1123 ${strict ? 'label' : 'subdomain'} must consist of lower case alphanumeric characters, '-'${strict ? '' : " or '.'"}, and must start and end with an alphanumeric character`,
      );
    }
    if (type.namespaced && !object.metadata.namespace)
      throw invalid(type.kind, name, 'metadata.namespace', 'Required value');
  }

  #validate(type: ResourceType, object: KubeObject): void {
    const name = object.metadata.name!;
    const template = ['Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet'].includes(type.kind);
    if (template) {
      if (!object.spec?.template?.spec) throw invalid(type.kind, name, 'spec.template', 'Required value');
      if (!object.spec.selector) throw invalid(type.kind, name, 'spec.selector', 'Required value');
      if (!matches(object.spec.selector, object.spec.template.metadata?.labels))
        throw invalid(
          type.kind,
          name,
          'spec.template.metadata.labels',
          'Invalid value: `selector` does not match template `labels`',
        );
    }
    if (type.kind === 'Job' && !object.spec?.template?.spec)
      throw invalid(type.kind, name, 'spec.template', 'Required value');
    if (type.kind === 'CronJob' && !(object.spec?.schedule && object.spec.jobTemplate?.spec?.template?.spec))
      throw invalid(type.kind, name, 'spec.schedule, spec.jobTemplate', 'Required value');
    const pod = type.kind === 'Pod' ? object.spec : template ? object.spec.template.spec : undefined;
    if (pod) {
      if (!pod.containers?.length)
        throw invalid(
          type.kind,
          name,
          type.kind === 'Pod' ? 'spec.containers' : 'spec.template.spec.containers',
          'Required value',
        );
      const seen = new Set<string>();
      for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
        if (!container.name) throw invalid(type.kind, name, 'spec.containers[].name', 'Required value');
        if (seen.has(container.name))
          throw invalid(type.kind, name, 'spec.containers[].name', `Duplicate value: "${container.name}"`);
        seen.add(container.name);
      }
    }
    if (
      type.kind === 'Service' &&
      object.spec?.type !== 'ExternalName' &&
      object.spec?.clusterIP !== 'None' &&
      !object.spec?.ports?.length
    ) {
      throw invalid('Service', name, 'spec.ports', 'Required value');
    }
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

  #assignAddress(service: KubeObject): void {
    const { spec } = service;
    if (spec.type === 'ExternalName' || spec.clusterIP === 'None') return;
    const taken = new Set([
      ...this.list(resources.services).map((other) => other.spec.clusterIP),
      ...Object.values(this.#options.fixedServices),
    ]);
    let address =
      spec.clusterIP ?? this.#options.fixedServices[`${service.metadata.namespace}/${service.metadata.name}`];
    if (!address) {
      do
        address = `${this.#options.servicePrefix}.${1 + Math.floor(Math.random() * 254)}.${1 + Math.floor(Math.random() * 254)}`;
      while (taken.has(address));
    }
    spec.clusterIP = address;
    spec.clusterIPs = [address];
  }
}

/** Whether two objects differ in nothing but their version. */
function same(a: KubeObject, b: KubeObject): boolean {
  const plain = (object: KubeObject) =>
    JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: '' } });
  return plain(a) === plain(b);
}
