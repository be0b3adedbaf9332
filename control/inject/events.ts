/** Events in which users find what became of their pods and annotations. */
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ObjectMeta } from '../../kube/types.ts';
import { controlName, proxyVersionAnnotation } from '../../protocol/names.ts';
import { type Cluster, isMeshed } from '../cluster/index.ts';
import type { Log } from '../log.ts';

/** Owners told of; an older one may be told again. */
const limit = 10_000;
/** Kubernetes keeps events for an hour: of a pod that is older, nobody could say whether it was told of. */
const newMs = 10 * 60_000;

export interface Told {
  /** Holds for all replicas, and for the time that Kubernetes keeps events: told once. */
  name: string;
  type: 'Normal' | 'Warning';
  reason: 'Injected' | 'InjectionSkipped' | 'Unmeshed' | 'BadAnnotation';
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

/**
 * Says of each pod that belongs to nothing that it has a proxy, once it is there: when the webhook saw it, it had no
 * identity and maybe no name. Whichever replica is second finds the event there, and so does one that starts.
 */
export function tellOfLonePods(
  kube: Pick<KubeClient, 'create'>,
  cluster: Pick<Cluster, 'pods'>,
  log: Log,
  now: () => number = Date.now,
): void {
  const told = new Set<string>();
  const tell = (pod: KubeObject, uid: string): void => {
    const { name, namespace, annotations } = pod.metadata as { name: string; namespace: string } & ObjectMeta;
    told.add(uid);
    const message = `the pod has the proxy of mesh ${annotations?.[proxyVersionAnnotation]}`;
    const about = { apiVersion: 'v1', kind: 'Pod', namespace, name, uid };
    writeEvent(kube, { name: `injected-${uid}`, type: 'Normal', reason: 'Injected', message, about }).catch(
      (error: Error) => {
        // The pod's next change tries again.
        told.delete(uid);
        log.warn('event not written', { namespace, pod: name, reason: error.message });
      },
    );
  };
  cluster.pods.on(({ type, object }) => {
    const { uid, creationTimestamp, ownerReferences = [] } = object.metadata;
    if (uid === undefined || type === 'DELETED') told.delete(uid ?? '');
    else if (
      !told.has(uid) &&
      isMeshed(object) &&
      !ownerReferences.some((one) => one.controller) &&
      now() - Date.parse(creationTimestamp ?? '') < newMs
    )
      tell(object, uid);
  });
}
