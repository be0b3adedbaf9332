/** The environment of a container: literals, references, service addresses, $(NAME) expansion. */
import { availableParallelism, totalmem } from 'node:os';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';

/** A reference to something that is not there: the container waits until it is. */
export class ConfigError extends Error {}

const units: Record<string, number> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A Kubernetes quantity as a number, e.g. `100m` → 0.1, `64Mi` → 67108864. */
export function quantity(text: string | number): number {
  const [, number, unit] = /^([\d.eE+-]+?)([a-zA-Z]*)$/.exec(String(text)) ?? [];
  return Number(number) * (units[unit ?? ''] ?? 1);
}

/** Value of a downward API field, e.g. `metadata.labels['app']` or `status.podIPs`. */
export function fieldOf(pod: KubeObject, path: string, node: { name: string; address: string }): string {
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed) return pod.metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  const ip: string = pod.status?.podIP ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name ?? '';
    case 'metadata.namespace':
      return pod.metadata.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
    case 'metadata.annotations': {
      const map = pod.metadata[path.slice('metadata.'.length) as 'labels' | 'annotations'] ?? {};
      return Object.entries(map)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}\n`)
        .sort()
        .join('');
    }
    case 'spec.nodeName':
      return node.name;
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? 'default';
    case 'status.hostIP':
    case 'status.hostIPs':
      return node.address;
    case 'status.podIP':
    case 'status.podIPs':
      return ip;
    default:
      throw new ConfigError(`unsupported field ${path}`);
  }
}

/** Value of a `resourceFieldRef`; a missing limit counts as the whole machine. */
export function resourceOf(pod: KubeObject, own: KubeObject | undefined, reference: KubeObject): string {
  const container = reference.containerName
    ? [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((one) => one.name === reference.containerName)
    : own;
  const [kind, name] = String(reference.resource).split('.') as [string, string];
  const machine = name === 'cpu' ? availableParallelism() : name === 'memory' ? totalmem() : 0;
  const found = container?.resources?.[kind]?.[name];
  const divisor = reference.divisor ? quantity(reference.divisor) || 1 : 1;
  return String(Math.ceil((found === undefined ? (kind === 'limits' ? machine : 0) : quantity(found)) / divisor));
}

function keyOf(
  objects: Objects,
  kind: 'configMaps' | 'secrets',
  namespace: string,
  reference: KubeObject,
): string | undefined {
  const source = objects.get(resources[kind], reference.name, namespace);
  const value = source?.data?.[reference.key];
  if (value === undefined) {
    if (reference.optional) return undefined;
    const what = kind === 'secrets' ? 'secret' : 'configmap';
    throw new ConfigError(
      source
        ? `couldn't find key ${reference.key} in ${what} ${namespace}/${reference.name}`
        : `${what} "${reference.name}" not found`,
    );
  }
  return kind === 'secrets' ? Buffer.from(value, 'base64').toString() : value;
}

/** `NAME_SERVICE_HOST` and `NAME_SERVICE_PORT` of the namespace's services, and of the API server. */
function serviceVariables(objects: Objects, pod: KubeObject): Record<string, string> {
  const made: Record<string, string> = {};
  const services =
    pod.spec.enableServiceLinks === false
      ? []
      : objects.list(resources.services, { namespace: pod.metadata.namespace! });
  const api = objects.get(resources.services, 'kubernetes', 'default');
  for (const service of api ? [api, ...services] : services) {
    const { clusterIP, ports } = service.spec;
    if (!clusterIP || clusterIP === 'None' || !ports?.length) continue;
    const name = service.metadata.name!.toUpperCase().replaceAll('-', '_');
    made[`${name}_SERVICE_HOST`] = clusterIP;
    made[`${name}_SERVICE_PORT`] = String(ports[0].port);
    for (const port of ports)
      if (port.name) made[`${name}_SERVICE_PORT_${port.name.toUpperCase().replaceAll('-', '_')}`] = String(port.port);
  }
  return made;
}

/** $(NAME) → value; $$(NAME) → $(NAME); an unknown name stays as it is written. */
export function expand(text: string, variables: Record<string, string>): string {
  return text.replace(/\$\$|\$\(([^)]+)\)/g, (match, name) => (match === '$$' ? '$' : (variables[name] ?? match)));
}

/** @param base what the image says */
export function environmentOf(
  objects: Objects,
  pod: KubeObject,
  container: KubeObject,
  node: { name: string; address: string },
  base: Record<string, string> = { HOME: '/root' },
): Record<string, string> {
  const namespace = pod.metadata.namespace!;
  const made: Record<string, string> = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ...base,
    HOSTNAME: pod.spec.hostname ?? pod.metadata.name!,
    ...serviceVariables(objects, pod),
  };
  for (const from of container.envFrom ?? []) {
    const reference = from.configMapRef ?? from.secretRef;
    const source = objects.get(from.configMapRef ? resources.configMaps : resources.secrets, reference.name, namespace);
    if (!source && !reference.optional)
      throw new ConfigError(`${from.configMapRef ? 'configmap' : 'secret'} "${reference.name}" not found`);
    for (const [key, value] of Object.entries<string>(source?.data ?? {}))
      made[`${from.prefix ?? ''}${key}`] = from.secretRef ? Buffer.from(value, 'base64').toString() : value;
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (!valueFrom) {
      made[name] = expand(value ?? '', made);
      continue;
    }
    const found = valueFrom.fieldRef
      ? fieldOf(pod, valueFrom.fieldRef.fieldPath, node)
      : valueFrom.resourceFieldRef
        ? resourceOf(pod, container, valueFrom.resourceFieldRef)
        : valueFrom.configMapKeyRef
          ? keyOf(objects, 'configMaps', namespace, valueFrom.configMapKeyRef)
          : keyOf(objects, 'secrets', namespace, valueFrom.secretKeyRef);
    if (found !== undefined) made[name] = found;
  }
  return made;
}
