/** The probes of a pod that the kubelet carries out over HTTP or gRPC. */
import type { Json, KubeObject } from '../../kube/types.ts';
import type { Probe } from '../../protocol/discovery.ts';
import { proxyContainer } from '../../protocol/names.ts';

const kinds = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const;
const grpcPath = '/grpc.health.v1.Health/Check';

/** Of a container, as little as `podProbes` reads. */
export function keptProbes(container: Json): Json {
  const kept: Json = {};
  for (const kind of kinds) {
    const { httpGet, grpc } = container[kind] ?? {};
    const headers = httpGet?.httpHeaders?.filter(isAgent);
    if (grpc) kept[kind] = { grpc: { port: grpc.port } };
    else if (httpGet) {
      const { path, port, scheme } = httpGet;
      kept[kind] = {
        httpGet: {
          port,
          ...(path === undefined ? {} : { path }),
          ...(scheme === undefined ? {} : { scheme }),
          ...(headers?.length > 0 ? { httpHeaders: headers } : {}),
        },
      };
    }
  }
  return kept;
}

/** Without those over TLS, which a proxy cannot look into, and without the proxy's own. */
export function podProbes(pod: KubeObject): Probe[] {
  const sidecars = (pod.spec.initContainers ?? []).filter((one: Json) => one.name !== proxyContainer);
  const probes: Probe[] = [];
  for (const container of [...pod.spec.containers, ...sidecars]) {
    for (const kind of kinds) {
      const probe = read(container[kind], container);
      if (probe && !probes.some((one) => same(one, probe))) probes.push(probe);
    }
  }
  return probes;
}

function read(handler: Json, container: Json): Probe | undefined {
  const { httpGet, grpc } = handler ?? {};
  if (grpc) return { port: grpc.port, path: grpcPath };
  if (!httpGet || httpGet.scheme === 'HTTPS') return undefined;
  const named = container.ports?.find((one: Json) => one.name === httpGet.port);
  const port = Number(named ? named.containerPort : httpGet.port);
  if (!Number.isInteger(port)) return undefined;
  const path: string = httpGet.path || '/';
  const agent: string | undefined = httpGet.httpHeaders?.find(isAgent)?.value;
  return { port, path: path.startsWith('/') ? path : `/${path}`, ...(agent === undefined ? {} : { agent }) };
}

function isAgent(header: Json): boolean {
  return String(header.name).toLowerCase() === 'user-agent';
}

function same(a: Probe, b: Probe): boolean {
  return a.port === b.port && a.path === b.path && a.agent === b.agent;
}
