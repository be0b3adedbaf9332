/**
 * Services of type LoadBalancer and NodePort, published on 127.0.0.1 of the machine by the supervisor: the former under
 * their own ports, both under their node ports.
 */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Publication } from '../messages.ts';
import type { Objects } from '../objects.ts';

/** Opens ports; answers with what could not be opened, by key. */
export type Publish = (publications: Publication[]) => Promise<Record<string, string>>;

interface Port {
  port: number;
  nodePort?: number;
  protocol?: string;
}

function publicationsOf(service: KubeObject): { balancer: Publication[]; node: Publication[]; udp: Port[] } {
  const { name, namespace } = service.metadata;
  const ports: Port[] = service.spec.ports ?? [];
  const tcp = ports.filter((one) => (one.protocol ?? 'TCP') === 'TCP');
  const publication = (port: number, targetPort: number): Publication => ({
    key: `${namespace}/${name}:${port}`,
    port,
    address: service.spec.clusterIP,
    targetPort,
  });
  return {
    balancer: service.spec.type === 'LoadBalancer' ? tcp.map((one) => publication(one.port, one.port)) : [],
    node: tcp.flatMap((one) => (one.nodePort === undefined ? [] : publication(one.nodePort, one.port))),
    udp: ports.filter((one) => one.protocol === 'UDP'),
  };
}

/** Keeps the published ports and the services' status in step; a port in use is tried again every few seconds. */
export function keepPublished(objects: Objects, publish: Publish): () => void {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  /** Service → what was said about it last. */
  const told = new Map<string, string>();
  const report = ({ metadata }: KubeObject, open: boolean) =>
    objects.updateStatus(resources.services, metadata.name!, metadata.namespace, (status) => ({
      ...status,
      loadBalancer: open ? { ingress: [{ ip: '127.0.0.1', ipMode: 'VIP' }] } : {},
    }));
  const update = async (): Promise<void> => {
    const services = objects
      .list(resources.services)
      .filter((one) => ['LoadBalancer', 'NodePort'].includes(one.spec.type) && one.spec.clusterIP);
    const all = services.map((service) => ({ service, ...publicationsOf(service) }));
    const problems = await publish(all.flatMap(({ balancer, node }) => [...balancer, ...node]));
    if (stopped) return;
    timer = undefined;
    for (const { service, balancer, node, udp } of all) {
      const failed = (list: Publication[]) => list.map((one) => problems[one.key]).filter((one) => one !== undefined);
      if (service.spec.type === 'LoadBalancer') await report(service, failed(balancer).length === 0);
      const why = [
        ...failed([...balancer, ...node]),
        ...udp.map((one) => `port ${one.port} is UDP, which is served inside the mesh only`),
      ];
      const mark = `${service.metadata.namespace}/${service.metadata.name}`;
      if (why.length > 0 && told.get(mark) !== why.join())
        objects.event(service, 'Warning', 'SyncLoadBalancerFailed', `Not published: ${why.join('; ')}`);
      told.set(mark, why.join());
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
