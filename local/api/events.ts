/** Events about objects, as kubectl describe shows them: counted up where they repeat, the oldest dropped. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { KubeObject } from '../../kube/types.ts';
import { StateError } from '../store/open.ts';
import type { Store } from '../store/store.ts';

const most = 1100;
const kept = 1000;

export class Events {
  readonly #store: Store;
  readonly #log: (message: string) => void;

  constructor(store: Store, log: (message: string) => void) {
    this.#store = store;
    this.#log = log;
  }

  /** An event is a remark: where the state cannot be written, it goes to the log, and its cause goes on. */
  record(about: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    try {
      this.#write(about, type, reason, message);
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      this.#log(`event ${reason} of ${about.kind} ${about.metadata.name} (${message}) not kept: ${error.message}`);
    }
  }

  #write(about: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const namespace = about.metadata.namespace ?? 'default';
    const time = `${new Date().toISOString().slice(0, 19)}Z`;
    const same = this.#store
      .list('events')
      .find(
        (event) =>
          event.metadata.namespace === namespace &&
          event.involvedObject?.uid === about.metadata.uid &&
          event.reason === reason &&
          event.message === message,
      );
    if (same) {
      const count = (same.count ?? 1) + 1;
      this.#store.put('events', `${namespace}/${same.metadata.name}`, { ...same, count, lastTimestamp: time });
      return;
    }
    if (!this.#store.get('namespaces', namespace)) return;
    const name = `${about.metadata.name}.${randomBytes(8).toString('hex')}`;
    this.#store.put('events', `${namespace}/${name}`, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace, uid: randomUUID(), creationTimestamp: time },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name: about.metadata.name,
        namespace: about.metadata.namespace,
        uid: about.metadata.uid,
      },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      source: { component: 'mesh-local' },
      reportingComponent: 'mesh-local',
      reportingInstance: 'local',
    });
    this.#trim();
  }

  #trim(): void {
    const events = this.#store.list('events');
    if (events.length <= most) return;
    events.sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
    for (const event of events.slice(0, events.length - kept))
      this.#store.remove('events', `${event.metadata.namespace}/${event.metadata.name}`);
  }
}
