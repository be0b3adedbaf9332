/** The API for the CLI, on the pod's loopback: whoever may port-forward to the pod may read it. */
import http from 'node:http';
import type { ApiError, ControlStatus, ProxyInfo, StatQuery, UnreachableReplica } from '../../protocol/api.ts';
import { formatSpiffeId } from '../../protocol/identity.ts';
import { version } from '../../protocol/version.ts';
import { type Cluster, workloadOf } from '../cluster/index.ts';
import type { ProxyStream } from '../discovery/server.ts';
import type { Authority } from '../identity/authority.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import { unmeshedPods } from '../inject/unmeshed.ts';
import type { Collector } from '../telemetry/collector.ts';
import { parseReference, stat, statKinds } from '../telemetry/stat.ts';

export interface ApiOptions {
  cluster: Cluster;
  collector: Collector;
  authority: Authority;
  trustDomain: string;
  webhook: () => OwnCertificate;
  proxies: () => ProxyStream[];
  /** What only the other replicas know. */
  peers: {
    unreachable(): UnreachableReplica[];
    proxies(): Promise<{ proxies: ProxyInfo[]; unreachable: UnreachableReplica[] }>;
  };
  started: Date;
  troubles: () => string[];
}

class BadQuery extends Error {}

/** @throws BadQuery */
function statQuery(parameters: URLSearchParams): StatQuery {
  const kind = parameters.get('kind') ?? '';
  if (!(statKinds as readonly string[]).includes(kind))
    throw new BadQuery(`kind "${kind}" is none of ${statKinds.join(', ')}`);
  const query: StatQuery = { kind };
  for (const name of ['namespace', 'name', 'to', 'from'] as const) {
    const value = parameters.get(name);
    if (value) query[name] = value;
  }
  for (const name of ['to', 'from'] as const)
    if (query[name] && !parseReference(query[name]))
      throw new BadQuery(`${name} "${query[name]}" is not kind/name or namespace/kind/name`);
  const window = parameters.get('window');
  if (window !== null) {
    query.window = Number(window);
    if (!(query.window >= 10 && query.window <= 3600))
      throw new BadQuery(`window "${window}" is not between 10 and 3600 seconds`);
  }
  return query;
}

function status(options: ApiOptions): ControlStatus {
  const { roots, issuer, issuerIsTrusted } = options.authority;
  const time = (text: string) => new Date(text).toISOString();
  return {
    version,
    time: new Date().toISOString(),
    started: options.started.toISOString(),
    trust_domain: options.trustDomain,
    root: roots.map((root) => ({
      subject: root.subject,
      not_before: time(root.validFrom),
      not_after: time(root.validTo),
      sha256: root.fingerprint256,
    })),
    issuer: {
      not_before: time(issuer.certificate.validFrom),
      not_after: time(issuer.certificate.validTo),
      issued_by_root: issuerIsTrusted,
    },
    webhook: { not_after: options.webhook().notAfter.toISOString() },
    proxies: options.proxies().length,
    unmeshed: unmeshedPods(options.cluster),
    troubles: [
      ...options.troubles(),
      ...options.peers.unreachable().map(({ pod, reason }) => `replica ${pod} does not answer: ${reason}`),
    ],
  };
}

/** As the API tells of proxies that are connected to this replica. */
export function proxyInfos(cluster: Cluster, proxies: readonly ProxyStream[]): ProxyInfo[] {
  return proxies.map((proxy) => {
    const pod = cluster.pods.get(proxy.identity.namespace, proxy.pod);
    return {
      namespace: proxy.identity.namespace,
      pod: proxy.pod,
      workload: pod ? workloadOf(pod) : null,
      version: proxy.version,
      identity: formatSpiffeId(proxy.identity),
      certificate_expires: proxy.certificateExpires.toISOString(),
      connected_since: proxy.connectedSince.toISOString(),
    };
  });
}

async function answer(options: ApiOptions, { pathname, searchParams }: URL): Promise<object | undefined> {
  const { cluster, collector, peers } = options;
  switch (pathname) {
    case '/v1/stat':
      return { ...stat(collector, cluster, statQuery(searchParams)), unreachable_replicas: peers.unreachable() };
    case '/v1/proxies': {
      const others = await peers.proxies();
      const proxies = [...proxyInfos(cluster, options.proxies()), ...others.proxies];
      return { proxies, unreachable_replicas: others.unreachable };
    }
    case '/v1/status':
      return status(options);
    default:
      return undefined;
  }
}

export function createApiServer(options: ApiOptions): http.Server {
  return http.createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://api');
    const send = (code: number, body: object | ApiError) => {
      const text = JSON.stringify(body);
      response
        .writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
        .end(text);
    };
    if (request.method !== 'GET') return send(405, { code: 'method-not-allowed', message: 'the API is read with GET' });
    try {
      const found = await answer(options, url);
      send(found ? 200 : 404, found ?? { code: 'not-found', message: `there is no ${url.pathname}` });
    } catch (error) {
      if (error instanceof BadQuery) send(400, { code: 'bad-query', message: error.message });
      else send(500, { code: 'internal', message: (error as Error).message });
    }
  });
}
