/** Answers `stat`: a row for each resource asked for, with its golden metrics over a window. */
import type { KubeObject } from '../../kube/types.ts';
import type { StatQuery, StatResponse, StatRow } from '../../protocol/api.ts';
import type { Workload } from '../../protocol/discovery.ts';
import { quantile } from '../../protocol/histogram.ts';
import { type Cluster, isMeshed, workloadOf } from '../cluster/index.ts';
import { type Collector, emptyTotals, type Series, type Totals } from './collector.ts';

const workloadKinds = ['deployment', 'statefulset', 'daemonset', 'job', 'cronjob', 'replicaset'] as const;
export const statKinds = [...workloadKinds, 'pod', 'namespace', 'service', 'all'] as const;

interface Row {
  namespace: string;
  kind: string;
  name: string;
  pods: KubeObject[];
  totals: Totals;
  /** Milliseconds its figures cover. */
  covered: number;
}

interface Reference {
  namespace: string | undefined;
  kind: string;
  name: string;
}

/** `kind/name` or `namespace/kind/name`. */
export function parseReference(text: string): Reference | undefined {
  const parts = text.split('/');
  if (parts.length === 2 && parts[0] && parts[1]) return { namespace: undefined, kind: parts[0], name: parts[1] };
  if (parts.length === 3 && parts[0] && parts[1] && parts[2])
    return { namespace: parts[0], kind: parts[1], name: parts[2] };
  return undefined;
}

function isWorkload(workload: Workload | null, reference: Reference): boolean {
  if (!workload || (reference.namespace && workload.namespace !== reference.namespace)) return false;
  if (reference.kind === 'namespace') return workload.namespace === reference.name;
  return workload.kind === reference.kind && workload.name === reference.name;
}

function isReporter(series: Series, reference: Reference): boolean {
  if (reference.kind === 'pod')
    return (
      series.reporter.pod === reference.name &&
      (!reference.namespace || series.reporter.namespace === reference.namespace)
    );
  return isWorkload(series.reporter.workload, reference);
}

function isPeer(series: Series, reference: Reference): boolean {
  if (reference.kind === 'service') {
    const [namespace, name] = (series.shape.service ?? '/').split('/');
    return name === reference.name && (!reference.namespace || namespace === reference.namespace);
  }
  return isWorkload(series.shape.peer, reference);
}

export function stat(collector: Collector, cluster: Cluster, query: StatQuery, now = Date.now()): StatResponse {
  const windowMs = (query.window ?? 60) * 1000;
  const kinds: readonly string[] = query.kind === 'all' ? [...workloadKinds, 'pod', 'service'] : [query.kind];
  const to = query.to === undefined ? undefined : parseReference(query.to);
  const from = query.from === undefined ? undefined : parseReference(query.from);
  const found = kinds.map((kind) => ({ kind, rows: rowsOf(cluster, kind, query) }));
  const covered = collector.coverage(windowMs);
  collector.sum(windowMs, (series) =>
    found.flatMap(({ kind, rows }) => {
      const row = rows.get(keyOf(series, kind, to, from) ?? '');
      if (!row) return [];
      row.covered = Math.max(row.covered, covered(series.reporter.namespace, series.reporter.pod));
      return [row.totals];
    }),
  );
  const rows = found.flatMap(({ kind, rows }) => [...rows.values()].map((row) => render(row, kind)));
  rows.sort(
    (a, b) =>
      a.namespace.localeCompare(b.namespace) ||
      kinds.indexOf(a.kind) - kinds.indexOf(b.kind) ||
      a.name.localeCompare(b.name),
  );
  return { time: new Date(now).toISOString(), window_seconds: windowMs / 1000, rows };
}

/** Which row a series counts for; undefined for none. */
function keyOf(
  series: Series,
  kind: string,
  to: Reference | undefined,
  from: Reference | undefined,
): string | undefined {
  const own = (workload: Workload | null, pod: string | undefined): string | undefined => {
    if (!workload) return undefined;
    if (kind === 'namespace') return `/${workload.namespace}`;
    if (kind === 'pod') return pod && `${workload.namespace}/${pod}`;
    return workload.kind === kind ? `${workload.namespace}/${workload.name}` : undefined;
  };
  if (kind === 'service') {
    if (series.shape.direction !== 'outbound' || !series.shape.service) return undefined;
    return !from || isReporter(series, from) ? series.shape.service : undefined;
  }
  if (to)
    return series.shape.direction === 'outbound' && isPeer(series, to)
      ? own(series.reporter.workload, series.reporter.pod)
      : undefined;
  if (from)
    return series.shape.direction === 'outbound' && isReporter(series, from)
      ? own(series.shape.peer, undefined)
      : undefined;
  return series.shape.direction === 'inbound' ? own(series.reporter.workload, series.reporter.pod) : undefined;
}

function rowsOf(cluster: Cluster, kind: string, query: StatQuery): Map<string, Row> {
  const rows = new Map<string, Row>();
  const wanted = (namespace: string, name: string) =>
    (!query.namespace || kind === 'namespace' || namespace === query.namespace) && (!query.name || name === query.name);
  const add = (namespace: string, name: string, pod: KubeObject | undefined) => {
    if (!wanted(namespace, name)) return;
    const key = `${namespace}/${name}`;
    const row = rows.get(key) ?? { namespace, kind, name, pods: [], totals: emptyTotals(), covered: 0 };
    if (pod) row.pods.push(pod);
    rows.set(key, row);
  };
  if (kind === 'service') {
    for (const service of cluster.services.list()) add(service.metadata.namespace!, service.metadata.name!, undefined);
    return rows;
  }
  if (kind === 'namespace')
    for (const namespace of cluster.namespaces.list()) add('', namespace.metadata.name!, undefined);
  for (const pod of cluster.pods.list()) {
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') continue;
    const namespace = pod.metadata.namespace!;
    const workload = workloadOf(pod);
    // Of all, a pod that belongs to a workload is in its workload's row.
    if (kind === 'pod' && query.kind === 'all' && workload.kind !== 'pod') continue;
    if (kind === 'pod') add(namespace, pod.metadata.name!, pod);
    else if (kind === 'namespace') add('', namespace, pod);
    else if (workload.kind === kind) add(namespace, workload.name, pod);
  }
  return rows;
}

function render(row: Row, kind: string): StatRow {
  const { totals } = row;
  const seconds = row.covered / 1000;
  const http = totals.requests > 0;
  const traffic = totals.counted > 0 || totals.sentBytes > 0 || totals.open > 0;
  const milliseconds = (share: number) => {
    const value = quantile(totals.latency, share);
    return value === undefined ? null : Math.round(value) / 1000;
  };
  const running = row.pods.filter((pod) => !pod.metadata.deletionTimestamp);
  return {
    namespace: kind === 'namespace' ? row.name : row.namespace,
    kind,
    name: row.name,
    pods: kind === 'service' ? null : { meshed: running.filter(isMeshed).length, total: running.length },
    status: kind === 'pod' ? (row.pods[0]?.status?.phase ?? null) : null,
    success: http ? (totals.requests - totals.failures) / totals.requests : null,
    requests_per_second: http ? totals.requests / seconds : null,
    p50_ms: milliseconds(0.5),
    p95_ms: milliseconds(0.95),
    p99_ms: milliseconds(0.99),
    tcp_connections: traffic ? totals.open : null,
    sent_bytes_per_second: traffic && seconds > 0 ? totals.sentBytes / seconds : null,
    received_bytes_per_second: traffic && seconds > 0 ? totals.receivedBytes / seconds : null,
    secured: totals.counted > 0 ? totals.secured / totals.counted : null,
  };
}
