/** The rows of `mesh stat`: what the control plane counted, for the objects that the cluster has. */
import type { KubeClient } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { StatResponse, StatRow, UnreachableReplica } from '../protocol/api.ts';
import { kinds, type Reference } from './kinds.ts';
import { mustExist } from './objects.ts';
import type { Resource } from './stat-query.ts';

export interface StatRequest {
  resources: Resource[];
  window: number;
  /** undefined for all namespaces. */
  namespace: string | undefined;
  selector?: string | undefined;
  to?: Peer | undefined;
  from?: Peer | undefined;
}

export interface Peer extends Reference {
  namespace: string;
}

const key = (row: { namespace: string; kind: string; name: string }): string =>
  `${row.namespace}/${row.kind}/${row.name}`;

export const hasTraffic = (row: StatRow): boolean => row.requests_per_second !== null || row.tcp_connections !== null;

/**
 * Where there is nothing to see, whether that is because of a name that does not exist. What has traffic is not asked
 * for again: whoever may see traffic need not have the right to read every object.
 * @throws CliError `not-found`
 */
export async function checkNames(kube: KubeClient, request: StatRequest, { rows }: StatResponse): Promise<void> {
  const { namespace } = request;
  if (rows.some(hasTraffic) && request.resources.every(({ name }) => name === undefined)) return;
  if (rows.length === 0 && namespace !== undefined) await mustExist(kube, resources.namespaces, namespace);
  for (const { kind, name } of request.resources) {
    if (name === undefined || rows.some((row) => row.kind === kind && row.name === name && hasTraffic(row))) continue;
    // Without a namespace, any that has it will do.
    if (namespace !== undefined || kind === 'namespace') await mustExist(kube, kinds[kind]!.type, name, namespace);
  }
  for (const peer of [request.to, request.from]) {
    if (peer && !rows.some(hasTraffic)) await mustExist(kube, kinds[peer.kind]!.type, peer.name, peer.namespace);
  }
}

export async function statRows(
  kube: KubeClient,
  get: (path: string) => Promise<StatResponse>,
  request: StatRequest,
): Promise<StatResponse> {
  const rows = new Map<string, StatRow>();
  let time = '';
  let unreachable: UnreachableReplica[] = [];
  for (const { kind, name } of request.resources) {
    const search = new URLSearchParams({ kind, window: String(request.window) });
    if (request.namespace !== undefined && kind !== 'namespace') search.set('namespace', request.namespace);
    if (name !== undefined) search.set('name', name);
    for (const direction of ['to', 'from'] as const) {
      const peer = request[direction];
      if (!peer) continue;
      const reference = `${peer.kind}/${peer.name}`;
      search.set(direction, peer.kind === 'namespace' ? reference : `${peer.namespace}/${reference}`);
    }
    const answer = await get(`/v1/stat?${search}`);
    time = answer.time;
    unreachable = answer.unreachable_replicas ?? [];
    for (const row of answer.rows) rows.set(key(row), row);
    // An object without pods has no row of its own.
    if (
      name !== undefined &&
      request.namespace !== undefined &&
      ![...rows.values()].some((row) => row.kind === kind && row.name === name)
    ) {
      rows.set(`${name}/${kind}`, silent(kind, name, request.namespace));
    }
  }
  const selected = request.selector === undefined ? undefined : await select(kube, request);
  const limited = request.to !== undefined || request.from !== undefined;
  const order = Object.keys(kinds);
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const kept = [...rows.values()]
    .filter((row) => (!selected || selected.has(key(row))) && (!limited || hasTraffic(row)))
    .sort(
      (a, b) =>
        compare(a.namespace, b.namespace) || order.indexOf(a.kind) - order.indexOf(b.kind) || compare(a.name, b.name),
    );
  return { time, window_seconds: request.window, rows: kept, unreachable_replicas: unreachable };
}

/** The objects of the kinds asked for that have the labels. */
async function select(kube: KubeClient, { resources: asked, selector, namespace }: StatRequest): Promise<Set<string>> {
  const wanted = asked.some(({ kind }) => kind === 'all') ? Object.keys(kinds) : asked.map(({ kind }) => kind);
  const found = await Promise.all(
    [...new Set(wanted)].map(async (kind) => {
      const { type } = kinds[kind]!;
      const scope = namespace === undefined || !type.namespaced ? {} : { namespace };
      const objects = await kube.list(type, { labelSelector: selector!, ...scope });
      return objects.map(({ metadata }) =>
        key({ kind, name: metadata.name!, namespace: metadata.namespace ?? metadata.name! }),
      );
    }),
  );
  return new Set(found.flat());
}

function silent(kind: string, name: string, namespace: string): StatRow {
  return {
    ...{ namespace, kind, name, pods: kind === 'service' ? null : { meshed: 0, total: 0 }, status: null },
    ...{ success: null, requests_per_second: null, p50_ms: null, p95_ms: null, p99_ms: null, tcp_connections: null },
    ...{ sent_bytes_per_second: null, received_bytes_per_second: null, secured: null },
  };
}
