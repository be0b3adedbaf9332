/** Events in which users find what became of their pods. */
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { controlName } from '../../protocol/names.ts';
import type { Log } from '../log.ts';

/** Owners told of; an older one may be told again. */
const limit = 10_000;

export interface Told {
  /** Holds for all replicas, and for the time that Kubernetes keeps events: told once. */
  name: string;
  type: 'Normal' | 'Warning';
  reason: 'Injected' | 'InjectionSkipped' | 'Unmeshed';
  message: string;
  about: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
}

/** @throws KubeError where it is not written; that it is there already is none */
export async function writeEvent(kube: Pick<KubeClient, 'create'>, told: Told): Promise<void> {
  const { name, type, reason, message, about } = told;
  const now = new Date().toISOString().replace(/\.\d+/, '');
  try {
    await kube.create(resources.events, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: about.namespace },
      ...{ type, reason, message },
      involvedObject: about,
      source: { component: controlName },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    });
  } catch (error) {
    if (!(error instanceof KubeError) || error.status !== 409) throw error;
  }
}

/**
 * Says what injection did, on what the pod belongs to (a ReplicaSet, a Job): the pod itself has no identity yet, and
 * its owner's other pods fare alike.
 */
export class InjectionEvents {
  readonly #kube: Pick<KubeClient, 'create'>;
  readonly #log: Log;
  readonly #told = new Set<string>();

  constructor(kube: Pick<KubeClient, 'create'>, log: Log) {
    this.#kube = kube;
    this.#log = log;
  }

  tell(pod: KubeObject, namespace: string, reason: 'Injected' | 'InjectionSkipped', message: string): void {
    const owner = pod.metadata.ownerReferences?.find((one) => one.controller);
    if (!owner) return;
    const name = `${reason.toLowerCase()}-${owner.uid}`;
    if (this.#told.has(name)) return;
    this.#told.add(name);
    if (this.#told.size > limit) this.#told.delete(this.#told.values().next().value!);
    const { apiVersion, kind, uid } = owner;
    const about = { apiVersion, kind, namespace, name: owner.name, uid };
    writeEvent(this.#kube, { name, type: 'Normal', reason, message, about }).catch((error: Error) => {
      // The owner's next pod tries again.
      this.#told.delete(name);
      this.#log.warn('event not written', { namespace, owner: owner.name, reason: error.message });
    });
  }
}
