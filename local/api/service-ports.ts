/** The addresses and node ports of services. */
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { invalid } from './status-error.ts';

const firstNodePort = 30_000;
const lastNodePort = 32_767;

export interface AddressPlan {
  /** First two numbers of service addresses; the network is /16: `10.96`. */
  servicePrefix: string;
  /** `namespace/name` → address. */
  fixedServices: Record<string, string>;
}

/** Gives a service the address it asks for, has agreed on, or a free one. */
export function assignAddress(objects: Objects, plan: AddressPlan, service: KubeObject): void {
  const { spec } = service;
  if (spec.type === 'ExternalName' || spec.clusterIP === 'None') return;
  const taken = new Set([
    ...objects.list(resources.services).map((other) => other.spec.clusterIP),
    ...Object.values(plan.fixedServices),
  ]);
  let address = spec.clusterIP ?? plan.fixedServices[`${service.metadata.namespace}/${service.metadata.name}`];
  if (!address) {
    do address = `${plan.servicePrefix}.${1 + Math.floor(Math.random() * 254)}.${1 + Math.floor(Math.random() * 254)}`;
    while (taken.has(address));
  }
  spec.clusterIP = address;
  spec.clusterIPs = [address];
}

/** A port of every node for each port of a service that is published. */
export function assignNodePorts(objects: Objects, service: KubeObject): void {
  const { spec, metadata } = service;
  const wanted =
    spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
  const taken = new Map<number, string>();
  for (const other of objects.list(resources.services)) {
    if (other.metadata.name === metadata.name && other.metadata.namespace === metadata.namespace) continue;
    for (const port of other.spec.ports ?? [])
      if (port.nodePort) taken.set(port.nodePort, `${other.metadata.namespace}/${other.metadata.name}`);
  }
  for (const port of spec.ports ?? []) {
    if (!wanted) delete port.nodePort;
    else if (port.nodePort === undefined) {
      do port.nodePort = firstNodePort + Math.floor(Math.random() * (lastNodePort - firstNodePort + 1));
      while (taken.has(port.nodePort));
    } else if (port.nodePort < firstNodePort || port.nodePort > lastNodePort) {
      const why = `Invalid value: ${port.nodePort}: provided port is not in the valid range. The range of valid ports is ${firstNodePort}-${lastNodePort}`;
      throw invalid('Service', metadata.name!, 'spec.ports[0].nodePort', why);
    } else if (taken.has(port.nodePort)) {
      const why = `Invalid value: ${port.nodePort}: provided port is already allocated`;
      throw invalid('Service', metadata.name!, 'spec.ports[0].nodePort', why);
    }
    if (wanted) taken.set(port.nodePort, '');
  }
}

/** A manifest rarely names node ports: those that were given out stay. */
export function keepNodePorts(next: KubeObject, stored: KubeObject): void {
  for (const port of next.spec.ports ?? []) {
    const same = (stored.spec.ports ?? []).find(
      (one: KubeObject) => one.port === port.port && (one.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
    );
    if (port.nodePort === undefined && same?.nodePort !== undefined) port.nodePort = same.nodePort;
  }
}
