/** The screen of `mesh diagnostics proxy`. */
import type { EndpointState, ProxyState, SettingState, TargetState } from '../../protocol/diagnostics.ts';
import type { TrafficPolicy } from '../../protocol/traffic-policy.ts';
import { counted } from '../counted.ts';
import { formatDuration } from '../duration.ts';
import { renderTable } from './table.ts';

const width = 15;
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
/** RFC 3339 to the second: the rest is noise to a reader. */
const second = (time: string): string => time.replace(/\.\d+Z$/, 'Z');

/** `40s`, `12m`, `5h`, `3d`: how far two times are apart. */
function apart(from: string, to: string): string {
  const seconds = Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
  if (seconds < 120) return `${Math.round(seconds)}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86_400)}d`;
}

const section = (title: string, lines: readonly string[]): string =>
  `${title}\n${'-'.repeat(title.length)}\n${lines.map((line) => `${line}\n`).join('')}`;
const field = (name: string, value: string): string => `${name.padEnd(width)}${value}`;

export function renderProxy(state: ProxyState): string {
  return [about(state), identity(state), control(state), traffic(state), targets(state), ports(state), errors(state)]
    .filter((text) => text !== '')
    .join('\n');
}

function about(state: ProxyState): string {
  const setting = ({ value, until }: SettingState): string =>
    until === null ? value : `${value} for ${apart(state.time, until)} more`;
  return section(`pod/${state.pod} in namespace ${state.namespace}`, [
    field('workload', state.workload),
    field('proxy', `${state.version}, up for ${apart(state.started, state.time)}`),
    field('ready', state.not_ready === null ? 'yes' : `no: ${state.not_ready}`),
    field('log level', setting(state.log_level)),
    field('access log', setting(state.access_log) + dropped(state.access_log_dropped, 'line', 'lines')),
    field('traces', traces(state.tracing)),
    field('memory', `${megabytes(state.memory.rss_bytes)} (heap ${megabytes(state.memory.heap_used_bytes)})`),
  ]);
}

const dropped = (count: number, one: string, many: string): string =>
  count === 0 ? '' : ` (${counted(count, one, many)} dropped)`;

function traces(tracing: ProxyState['tracing']): string {
  if (tracing === null) return 'off';
  const { endpoint, ratio, spans_sent: sent, spans_dropped: lost } = tracing;
  return `${ratio} of new ones to ${endpoint}, ${counted(sent, 'span', 'spans')} sent${dropped(lost, 'span', 'spans')}`;
}

function identity({ certificate, certificate_error: error, trust_roots: roots, time }: ProxyState): string {
  const own = certificate
    ? [
        field('identity', certificate.identity),
        field('issuer', certificate.issuer),
        field('valid from', second(certificate.not_before)),
        field('valid until', `${second(certificate.not_after)} (${left(time, certificate.not_after)})`),
      ]
    : [field('identity', 'no certificate yet')];
  return section('Certificate', [
    ...own,
    ...(error === null ? [] : [field('last renewal', `failed: ${error}`)]),
    ...roots.map((root) =>
      field('trust root', `${root.subject}, until ${second(root.not_after)}, ${root.sha256.slice(0, 11)}…`),
    ),
  ]);
}

const left = (now: string, end: string): string =>
  Date.parse(end) > Date.parse(now) ? `${apart(now, end)} left` : `ended ${apart(end, now)} ago`;

function control({ control_plane: plane, time }: ProxyState): string {
  const since = plane.since === null ? '' : ` for ${apart(plane.since, time)}`;
  const where = plane.replica === null ? '' : ` to pod/${plane.replica} (${plane.version})`;
  return section('Control plane', [
    field('connection', plane.connected ? `connected${where}${since}` : `none${since}; what is known stays in use`),
    ...(plane.error === null ? [] : [field('last failure', plane.error)]),
  ]);
}

function traffic({ connections, tunnels }: ProxyState): string {
  const { outbound, outbound_peers: peers, inbound } = tunnels;
  const sum = (key: 'connections' | 'streams') => outbound.reduce((total, tunnel) => total + tunnel[key], 0);
  const open = (links: number, streams: number) =>
    `${counted(links, 'connection', 'connections')}, ${counted(streams, 'stream', 'streams')}`;
  return section('Connections', [
    field('outbound', `${connections.outbound} of the application`),
    field('inbound', `${connections.inbound} of clients`),
    field('tunnels out', `${open(sum('connections'), sum('streams'))}, to ${counted(peers, 'peer', 'peers')}`),
    field('tunnels in', open(inbound.connections, inbound.streams)),
  ]);
}

function targets({ targets: shown, targets_count: count, time }: ProxyState): string {
  if (count === 0) return section('Targets', ['none: the application has dialled nothing']);
  const title = shown.length < count ? `Targets (the ${shown.length} used last of ${count})` : 'Targets';
  const rows = shown.flatMap((target) => targetRows(target, time));
  const header = ['TARGET', 'PROTOCOL', 'CONN', 'ENDPOINT', 'TLS', 'LATENCY', 'PENDING', 'STATE'];
  const policies = shown.flatMap((target) =>
    target.policy ? [`${nameOf(target)}: ${policyText(target.policy)}`] : [],
  );
  return section(title, [renderTable(header, rows).trimEnd(), ...policies]);
}

const nameOf = ({ service, address }: TargetState): string =>
  service === null ? address : service + address.slice(address.lastIndexOf(':'));

function policyText({ timeouts = {}, retry, failureAccrual }: TrafficPolicy): string {
  const times = Object.entries(timeouts).map(([of, time]) => `${of} timeout ${formatDuration(time)}`);
  const range = ([from, to]: [number, number]) => (from === to ? String(from) : `${from}-${to}`);
  return [
    ...times,
    ...(retry
      ? [`up to ${counted(retry.limit, 'retry', 'retries')} of ${retryText(retry.statuses.map(range), retry.grpc)}`]
      : []),
    ...(failureAccrual ? ['failed responses eject'] : []),
  ].join(', ');
}

const retryText = (statuses: string[], grpc: number[]): string =>
  [...statuses, ...(grpc.length > 0 ? [`gRPC ${grpc.join('/')}`] : [])].join(' and ');

function targetRows(target: TargetState, time: string): string[][] {
  const { endpoints, endpoints_count: count } = target;
  const head = [nameOf(target), target.detected ?? target.protocol, String(target.connections)];
  if (endpoints.length === 0) return [[...head, 'none', '-', '-', '-', '-']];
  const rows = endpoints.map((endpoint) => [...head, ...endpointCells(endpoint, time)]);
  if (count > endpoints.length) rows.push([...head, `+${count - endpoints.length}`, '-', '-', '-', '-']);
  return rows;
}

function endpointCells(endpoint: EndpointState, time: string): string[] {
  const { latency_ms: latency, ejected_until: until, failures } = endpoint;
  const left = until === null ? '' : apart(time, until);
  const state = left
    ? `${endpoint.resting ? 'resting' : 'ejected'}:${left}`
    : failures > 0
      ? `failed:${failures}`
      : 'ok';
  return [
    endpoint.pod ?? endpoint.address,
    endpoint.identity === null ? 'plain' : 'mtls',
    `${latency < 10 ? latency.toFixed(1) : Math.round(latency)}ms`,
    String(endpoint.pending),
    state,
  ];
}

function ports({ inbound_ports: seen, time }: ProxyState): string {
  if (seen.length === 0) return '';
  const rows = seen.map((one) => [
    String(one.port),
    one.protocol,
    one.declared ? 'declared' : 'detected',
    apart(one.seen, time),
    String(one.in_flight),
    one.limit === null ? '-' : String(one.limit),
  ]);
  return section('Ports of the application', [
    renderTable(['PORT', 'PROTOCOL', 'KNOWN', 'LAST', 'PENDING', 'LIMIT'], rows).trimEnd(),
  ]);
}

function errors({ errors: recent }: ProxyState): string {
  if (recent.length === 0) return section('Errors', ['none']);
  return section(
    'Errors, the latest first',
    recent.flatMap(({ time, direction, code, peer, message, count }) => [
      `${second(time)} ${direction} ${code} ${peer}${count > 1 ? ` (${count} times)` : ''}`,
      `    ${message}`,
    ]),
  );
}
