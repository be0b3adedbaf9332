/** Services of type LoadBalancer, published on 127.0.0.1 of the machine by the supervisor. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Publication } from '../messages.ts';
import type { Objects } from '../objects.ts';

/** Opens ports; answers with what could not be opened, by key. */
export type Publish = (publications: Publication[]) => Promise<Record<string, string>>;

function publicationsOf(service: KubeObject): Publication[] {
  const { name, namespace } = service.metadata;
  return service.spec.ports.map((port: { port: number }) => ({
    key: `${namespace}/${name}:${port.port}`,
    port: port.port,
    address: service.spec.clusterIP,
  }));
}

/** Keeps the published ports and the services' status in step; a port in use is tried again every few seconds. */
export function keepPublished(objects: Objects, publish: Publish): () => void {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const told = new Set<string>();
  const update = async (): Promise<void> => {
    const services = objects
      .list(resources.services)
      .filter((one) => one.spec.type === 'LoadBalancer' && one.spec.clusterIP);
    const problems = await publish(services.flatMap(publicationsOf));
    if (stopped) return;
    timer = undefined;
    for (const service of services) {
      const { name, namespace } = service.metadata;
      const problem = publicationsOf(service)
        .map((one) => problems[one.key])
        .find((one) => one !== undefined);
      const ingress = problem === undefined ? [{ ip: '127.0.0.1' }] : [];
      await objects.updateStatus(resources.services, name!, namespace, (status) => ({
        ...status,
        loadBalancer: ingress.length > 0 ? { ingress } : {},
      }));
      const mark = `${namespace}/${name}`;
      if (problem === undefined) told.delete(mark);
      else if (!told.has(mark)) {
        told.add(mark);
        objects.event(service, 'Warning', 'SyncLoadBalancerFailed', `Not published: ${problem}`);
      }
    }
    if (Object.keys(problems).length > 0) timer ??= setTimeout(update, 5_000);
  };
  const wake = (): void => {
    clearTimeout(timer);
    timer = setTimeout(update, 20);
  };
  const unwatch = objects.watch(resources.services, wake);
  return () => {
    stopped = true;
    clearTimeout(timer);
    unwatch();
  };
}
