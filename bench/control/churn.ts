/** Changes of endpoints, in an order that is the same in every run: pods come, are not ready, go, and are ready again. */
import { resources } from '../../kube/resources.ts';
import type { Objects } from '../../local/objects.ts';
import { type Changed, type ChangeKind, now } from './messages.ts';
import { type EndpointState, podName, podObject, type ServiceObjects, sliceObject, stateOf } from './world.ts';

/** Changes of one kind in a row, each at another service. */
const run = 10;
const kinds: ChangeKind[] = ['pod added', 'pod not ready', 'pod removed', 'pod ready'];

export class Churn {
  readonly #objects: Objects;
  readonly #services: ServiceObjects[];
  readonly #endpoints = new Map<ServiceObjects, EndpointState[]>();
  #addresses = 0;

  constructor(objects: Objects, services: ServiceObjects[]) {
    this.#objects = objects;
    this.#services = services;
    for (const service of services)
      this.#endpoints.set(
        service,
        service.pods.map(({ name, ip }) => ({ pod: name, ip, ready: true })),
      );
  }

  endpointsOf(service: ServiceObjects): EndpointState[] {
    return this.#endpoints.get(service)!;
  }

  /** What is undone is what was done two runs before, at the same service. */
  async change(number: number): Promise<Changed> {
    const turn = Math.floor(number / run) % kinds.length;
    const round = Math.floor(number / (run * kinds.length));
    const place = round * run * 2 + (turn % 2) * run + (number % run);
    const service = this.#services[place % this.#services.length]!;
    const kind = kinds[turn]!;
    const before = this.endpointsOf(service);
    const after = await this.#apply(kind, service, before);
    this.#endpoints.set(service, after);
    const at = now();
    await this.#write(service, after);
    // The pod goes after its endpoint, as it does where a grace period passes.
    if (kind === 'pod removed') await this.#objects.remove(resources.pods, before.at(-1)!.pod, service.namespace);
    return { kind, address: service.address, at, state: stateOf(after) };
  }

  async #apply(kind: ChangeKind, service: ServiceObjects, endpoints: EndpointState[]): Promise<EndpointState[]> {
    if (kind === 'pod removed') return endpoints.slice(0, -1);
    if (kind !== 'pod added')
      return endpoints.map((one, index) => (index === 0 ? { ...one, ready: kind === 'pod ready' } : one));
    const number = ++this.#addresses;
    const ip = `10.200.${(number >> 8) & 255}.${number & 255}`;
    const pod = podName(service.name, 1000 + number);
    const object = podObject(service, pod, ip);
    await this.#objects.create(resources.pods, object);
    await this.#objects.updateStatus(resources.pods, pod, service.namespace, () => object.status);
    return [...endpoints, { pod, ip, ready: true }];
  }

  async #write(service: ServiceObjects, endpoints: EndpointState[]): Promise<void> {
    const slice = sliceObject(service, endpoints);
    const known = this.#objects.get(resources.endpointSlices, slice.metadata.name!, service.namespace)!;
    const { resourceVersion, uid } = known.metadata as { resourceVersion: string; uid: string };
    await this.#objects.update(resources.endpointSlices, {
      ...slice,
      metadata: { ...slice.metadata, resourceVersion, uid },
    });
  }
}
