/** Why a pod can never work with a proxy, and what it should know where it can. */
import { adminPort, hbonePort, inboundPort, outboundPort, proxyUid } from '../protocol/ports.ts';
import type { InjectCode } from './codes.ts';
import type { PodTemplate } from './types.ts';

interface Container {
  name?: string;
  image?: string;
  ports?: ({ containerPort?: number; protocol?: string } | null)[];
  securityContext?: { runAsUser?: number };
}

/** A mesh other than this one: its containers, and the annotation or label with which its webhook is asked for them. */
const foreignMeshes: { mesh: string; name: RegExp; image: RegExp; asked: [key: string, value: RegExp] }[] = [
  {
    mesh: 'Istio',
    name: /^istio-(proxy|init|validation)$/,
    image: /(^|\/)(istio\/)?proxyv2(:|@|$)/,
    asked: ['sidecar.istio.io/inject', /^true$/],
  },
  {
    mesh: 'Linkerd',
    name: /^linkerd-(proxy|init)$/,
    image: /linkerd\/(proxy|proxy-init)(:|@|$)/,
    asked: ['linkerd.io/inject', /^(enabled|ingress)$/],
  },
  {
    mesh: 'Kuma',
    name: /^kuma-(sidecar|init)$/,
    image: /kuma-(dp|init)(:|@|$)/,
    asked: ['kuma.io/sidecar-injection', /^(enabled|true)$/],
  },
  {
    mesh: 'Consul',
    name: /^consul-(dataplane|connect-inject-init|connect-envoy-sidecar)(-|$)/,
    image: /(^|\/)consul-dataplane(:|@|$)/,
    asked: ['consul.hashicorp.com/connect-inject', /^true$/],
  },
];

const ownPorts: readonly number[] = [outboundPort, inboundPort, adminPort, hbonePort];

export function containersOf(value: unknown): Container[] {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === 'object') : [];
}

function portsOf(container: Container) {
  return (Array.isArray(container.ports) ? container.ports : []).filter((port) => port !== null);
}

export function obstacle(template: PodTemplate): { code: InjectCode; reason: string } | undefined {
  const { spec } = template;
  const containers = containersOf(spec.containers);
  const all = [...containers, ...containersOf(spec.initContainers)];
  if (containers.length === 0) return { code: 'no-containers', reason: 'the pod has no containers' };
  if (spec.hostNetwork === true)
    return { code: 'host-network', reason: 'hostNetwork is true: the proxy would redirect the whole node' };
  if (spec.os?.name === 'windows' || spec.nodeSelector?.['kubernetes.io/os'] === 'windows')
    return { code: 'not-linux', reason: 'the pod runs on Windows: redirecting its traffic takes Linux' };
  for (const { mesh, name, image, asked } of foreignMeshes) {
    const found = all.find((one) => name.test(String(one.name)) || image.test(String(one.image)));
    if (found)
      return { code: 'foreign-sidecar', reason: `container ${found.name ?? found.image} is a sidecar of ${mesh}` };
    const [key, value] = asked;
    if ([template.metadata?.annotations, template.metadata?.labels].some((map) => value.test(String(map?.[key]))))
      return { code: 'foreign-sidecar', reason: `${key} asks for a sidecar of ${mesh}` };
  }
  for (const container of all) {
    const taken = portsOf(container).find(
      ({ containerPort, protocol }) => protocol !== 'UDP' && ownPorts.includes(containerPort ?? 0),
    );
    if (taken)
      return {
        code: 'port-conflict',
        reason: `container ${container.name} listens on port ${taken.containerPort}, which the proxy needs`,
      };
    if ((container.securityContext?.runAsUser ?? spec.securityContext?.runAsUser) === proxyUid)
      return {
        code: 'user-conflict',
        reason: `container ${container.name} runs as user ${proxyUid}, whose traffic is not redirected: it is the proxy's`,
      };
  }
  return undefined;
}

/** What does not keep the pod out of the mesh, and is better known. */
export function remarks(template: PodTemplate): string[] {
  const found: string[] = [];
  for (const container of containersOf(template.spec.containers)) {
    for (const { containerPort, protocol } of portsOf(container)) {
      if (protocol === 'UDP')
        found.push(`port ${containerPort} of container ${container.name} is UDP: carried outside the mesh`);
    }
  }
  if (template.spec.shareProcessNamespace === true)
    found.push("shareProcessNamespace is true: a container that runs as root can read the proxy's key from its memory");
  return found;
}
