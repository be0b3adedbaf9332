/**
 * Keeps ConfigMap `mesh-trust-bundle` in every namespace, and puts it right where it was changed. Another replica may
 * know newer roots than this one: before a map that is there is changed, the roots are read anew.
 */
import { type Informer, type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { trustBundleConfigMap } from '../../protocol/names.ts';
import type { Log } from '../log.ts';

const retryMs = 2000;

export class TrustBundleKeeper {
  readonly #kube: KubeClient;
  readonly #log: Log;
  readonly #namespaces: Informer;
  readonly #maps: Informer;
  readonly #bundle: () => string;
  readonly #renew: () => Promise<void>;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(kube: KubeClient, namespaces: Informer, bundle: () => string, renew: () => Promise<void>, log: Log) {
    this.#kube = kube;
    this.#log = log;
    this.#bundle = bundle;
    this.#renew = renew;
    this.#namespaces = namespaces;
    this.#maps = kube.informer(resources.configMaps, { fieldSelector: `metadata.name=${trustBundleConfigMap}` });
  }

  async start(): Promise<void> {
    await Promise.all([this.#namespaces.synced, this.#maps.synced]);
    this.#maps.on(({ object }) => void this.#keep(object.metadata.namespace!));
    this.#namespaces.on(({ type, object }) => {
      if (type !== 'DELETED') void this.#keep(object.metadata.name!);
    });
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** After the bundle changed: every namespace gets the new one. */
  refresh(): void {
    for (const namespace of this.#namespaces.list()) void this.#keep(namespace.metadata.name!);
  }

  async #keep(name: string): Promise<void> {
    const namespace = this.#namespaces.get(undefined, name);
    if (!namespace || namespace.metadata.deletionTimestamp) return;
    const stored = this.#maps.get(name, trustBundleConfigMap);
    if (stored?.data?.['ca.crt'] === this.#bundle()) return;
    try {
      if (stored) await this.#renew();
      const data = { 'ca.crt': this.#bundle() };
      if (stored?.data?.['ca.crt'] === data['ca.crt']) return;
      const object: KubeObject = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: trustBundleConfigMap, namespace: name, labels: { 'mesh.dev/part-of': 'mesh' } },
        data,
      };
      if (stored) await this.#kube.replace(resources.configMaps, { ...structuredClone(stored), data });
      else await this.#kube.create(resources.configMaps, object);
    } catch (error) {
      // 409: the informer has not caught up; 404: the namespace went. The event to come, or the retry, settles it.
      if (!(error instanceof KubeError) || (error.status !== 409 && error.status !== 404))
        this.#log.warn('trust bundle not written', { namespace: name, reason: (error as Error).message });
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        void this.#keep(name);
      }, retryMs);
      this.#timers.add(timer);
    }
  }
}
