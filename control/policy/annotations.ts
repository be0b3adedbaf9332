/** Annotations of Services that say nothing a proxy could do: left out, and told with an Event on the Service. */
import { createHash } from 'node:crypto';
import { annotationProblems } from '../../inject/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Cluster } from '../cluster/index.ts';
import { writeEvent } from '../inject/events.ts';
import type { Log } from '../log.ts';

export class AnnotationReporter {
  readonly #kube: Pick<KubeClient, 'create'>;
  readonly #cluster: Cluster;
  readonly #log: Log;
  #told = new Set<string>();

  constructor(kube: Pick<KubeClient, 'create'>, cluster: Cluster, log: Log) {
    this.#kube = kube;
    this.#cluster = cluster;
    this.#log = log;
  }

  /** Tells of each Service's faults once, and again when they are others. */
  async report(): Promise<void> {
    const told = new Set<string>();
    for (const { metadata } of this.#cluster.services.list()) {
      const message = annotationProblems(metadata.annotations, 'service').join('; ');
      const { namespace, name, uid } = metadata;
      if (message === '' || !namespace || !name || !uid) continue;
      // The name of an Event holds for all replicas.
      const event = `bad-annotation-${uid}-${createHash('sha256').update(message).digest('hex').slice(0, 8)}`;
      if (this.#told.has(event) || (await this.#write(event, message, { namespace, name, uid }))) told.add(event);
    }
    this.#told = told;
  }

  async #write(event: string, message: string, service: { namespace: string; name: string; uid: string }) {
    const about = { apiVersion: 'v1', kind: 'Service', ...service };
    try {
      await writeEvent(this.#kube, { name: event, type: 'Warning', reason: 'BadAnnotation', message, about });
      return true;
    } catch (error) {
      const { namespace, name } = service;
      const { message: reason } = error as Error;
      this.#log.warn('event not written; it will be tried again', { namespace, service: name, reason });
      return false;
    }
  }
}
