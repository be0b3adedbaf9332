/** What every namespace has (default service account, the API's root certificate), and its end. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { Conflict, type Objects } from '../objects.ts';
import { splitKey, type WorkQueue } from './controller.ts';

const rootCertificates = 'kube-root-ca.crt';

export interface NamespaceOptions {
  /** PEM of the API server's root, put into every namespace for pods to read. */
  apiRoot: string;
  /** Every type whose objects live in namespaces, custom ones included. */
  namespacedTypes: () => ResourceType[];
}

export async function reconcileNamespace(
  objects: Objects,
  key: string,
  options: NamespaceOptions,
  queue: WorkQueue,
): Promise<void> {
  const { name } = splitKey(key);
  const namespace = objects.get(resources.namespaces, name);
  if (!namespace) return;
  if (namespace.metadata.deletionTimestamp) return finish(objects, namespace, options, queue, key);
  if (!objects.get(resources.serviceAccounts, 'default', name)) {
    await createUnlessThere(objects, resources.serviceAccounts, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'default', namespace: name },
    });
  }
  const stored = objects.get(resources.configMaps, rootCertificates, name);
  if (!stored) {
    await createUnlessThere(objects, resources.configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: rootCertificates, namespace: name },
      data: { 'ca.crt': options.apiRoot },
    });
  } else if (stored.data?.['ca.crt'] !== options.apiRoot) {
    await objects.update(resources.configMaps, { ...structuredClone(stored), data: { 'ca.crt': options.apiRoot } });
  }
}

async function createUnlessThere(objects: Objects, type: ResourceType, object: KubeObject): Promise<void> {
  try {
    await objects.create(type, object);
  } catch (error) {
    if (!(error instanceof Conflict) && !objects.get(type, object.metadata.name!, object.metadata.namespace))
      throw error;
  }
}

/** Deletes what is in the namespace, then the namespace. */
async function finish(
  objects: Objects,
  namespace: KubeObject,
  options: NamespaceOptions,
  queue: WorkQueue,
  key: string,
): Promise<void> {
  const name = namespace.metadata.name!;
  let left = 0;
  for (const type of options.namespacedTypes()) {
    for (const object of objects.list(type, { namespace: name })) {
      left++;
      if (!object.metadata.deletionTimestamp)
        await objects.delete(type, object.metadata.name!, name, { propagation: 'Background' });
    }
  }
  if (left > 0) return queue.addAfter(key, 100);
  await objects.remove(resources.namespaces, name, undefined, namespace.metadata.uid);
}
