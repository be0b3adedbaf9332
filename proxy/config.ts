/** The proxy's settings: `MESH_PROXY_*`, read once. docs/configuration.md lists the same as the table below. */
import { isIP } from 'node:net';
import { accessLogFormats, logLevels } from '../protocol/diagnostics.ts';
import { isTrustDomain, parseSpiffeId, type SpiffeId } from '../protocol/identity.ts';
import { clusterDomain, controlName, controlNamespace, defaultTrustDomain } from '../protocol/names.ts';
import { adminPort, discoveryPort, hbonePort, identityPort, inboundPort, outboundPort } from '../protocol/ports.ts';
import { type AccessLogFormat, isAccessLogFormat } from './access-log/format.ts';
import { isLogLevel, type LogLevel } from './log.ts';

export interface ProxyConfig {
  pod: string;
  namespace: string;
  /** Addresses of this pod. */
  podIps: readonly string[];
  node: string;
  serviceAccount: string;
  /** `kind/name`, e.g. `deployment/web`. */
  workload: string;
  trustDomain: string;
  controlHost: string;
  identityPort: number;
  discoveryPort: number;
  controlIdentity: SpiffeId;
  trustBundleFile: string;
  tokenFile: string;
  /** Declared opaque, inclusive ranges of inbound ports. */
  opaquePorts: readonly PortRange[];
  /** Whether requests are turned away while the application is overloaded. */
  loadShedding: boolean;
  gracePeriodMs: number;
  telemetryIntervalMs: number;
  logLevel: LogLevel;
  accessLog: AccessLogFormat;
  outboundPort: number;
  inboundPort: number;
  hbonePort: number;
  adminPort: number;
}

export interface PortRange {
  from: number;
  to: number;
}

/** Every variable, what it is, and its value where it is not set; no default means that it must be set. */
export const proxyVariables = {
  POD_NAME: { about: 'Name of this pod.' },
  POD_NAMESPACE: { about: 'Namespace of this pod.' },
  POD_IPS: { about: 'Addresses of this pod, separated by commas.' },
  NODE_NAME: { about: 'Node this pod runs on; for logs.', default: '' },
  SERVICE_ACCOUNT: { about: 'Service account of this pod: the last part of its identity.' },
  WORKLOAD: { about: 'What owns this pod, as kind/name. The pod itself where it is not set.', default: '' },
  TRUST_DOMAIN: { about: 'Trust domain of the mesh.', default: defaultTrustDomain },
  CONTROL_HOST: {
    about: 'Host name of the control plane.',
    default: `${controlName}.${controlNamespace}.svc.${clusterDomain}`,
  },
  IDENTITY_PORT: { about: 'Port of the control plane that issues certificates.', default: String(identityPort) },
  DISCOVERY_PORT: {
    about: 'Port of the control plane that speaks the proxy protocol.',
    default: String(discoveryPort),
  },
  CONTROL_IDENTITY: {
    about: 'Identity the control plane must show. In the trust domain, that of its service account where not set.',
    default: '',
  },
  TRUST_BUNDLE_FILE: { about: 'Root certificates in PEM to begin with.', default: '/var/run/mesh/trust/ca.crt' },
  TOKEN_FILE: { about: 'Projected service account token.', default: '/var/run/mesh/token/token' },
  OPAQUE_PORTS: { about: 'Ports or ranges of the application that are carried as TCP, unparsed.', default: '' },
  LOAD_SHEDDING: {
    about: 'enabled: requests are turned away while the application is overloaded.',
    default: 'disabled',
  },
  GRACE_PERIOD: { about: 'Seconds for what is in flight after SIGTERM.', default: '30' },
  TELEMETRY_INTERVAL: { about: 'Seconds between telemetry reports.', default: '5' },
  LOG_LEVEL: { about: 'error, warn, info or debug; mesh diagnostics can change it for a time.', default: 'info' },
  ACCESS_LOG: {
    about:
      'off, or the format of a line per request on stdout: json or common; mesh diagnostics can change it for a time.',
    default: 'off',
  },
  OUTBOUND_PORT: { about: "Where the application's connections arrive.", default: String(outboundPort) },
  INBOUND_PORT: { about: 'Where connections of peers without a proxy arrive.', default: String(inboundPort) },
  HBONE_PORT: { about: 'Where tunnels of meshed peers arrive.', default: String(hbonePort) },
  ADMIN_PORT: {
    about: '/ready, /live, /metrics, /env.json; to loopback /state.json and what mesh diagnostics changes.',
    default: String(adminPort),
  },
} as const satisfies Record<string, { about: string; default?: string }>;

export type ProxyVariable = keyof typeof proxyVariables;

export const variablePrefix = 'MESH_PROXY_';

/** The settings, or every problem there is, one sentence each. */
export function parseConfig(
  environment: Record<string, string | undefined>,
): { config: ProxyConfig } | { problems: string[] } {
  const problems: string[] = [];
  const bad = (name: ProxyVariable, value: string, want: string) =>
    problems.push(`${variablePrefix}${name}: "${value}" is not ${want}`);

  const text = (name: ProxyVariable): string => {
    const value = environment[variablePrefix + name]?.trim();
    if (value) return value;
    const entry: { about: string; default?: string } = proxyVariables[name];
    if (entry.default === undefined) problems.push(`${variablePrefix}${name} is not set. ${entry.about}`);
    return entry.default ?? '';
  };
  const number = (name: ProxyVariable, min: number, max: number): number => {
    const value = text(name);
    const parsed = /^\d+(\.\d+)?$/.test(value) ? Number(value) : Number.NaN;
    if (!(parsed >= min && parsed <= max)) bad(name, value, `a number from ${min} to ${max}`);
    return parsed;
  };
  const port = (name: ProxyVariable): number => {
    const value = text(name);
    // 0 asks the system for a free port, for tests.
    if (!/^\d{1,5}$/.test(value) || Number(value) > 65535) bad(name, value, 'a port');
    return Number(value);
  };

  const trustDomain = text('TRUST_DOMAIN');
  if (!isTrustDomain(trustDomain)) bad('TRUST_DOMAIN', trustDomain, 'a trust domain (a-z, 0-9, ".", "_", "-")');
  const controlIdentity =
    text('CONTROL_IDENTITY') || `spiffe://${trustDomain}/ns/${controlNamespace}/sa/${controlName}`;
  if (!parseSpiffeId(controlIdentity))
    bad('CONTROL_IDENTITY', controlIdentity, 'of the form spiffe://domain/ns/…/sa/…');
  const podIps = text('POD_IPS').split(',').filter(Boolean);
  for (const ip of podIps) if (isIP(ip) === 0) bad('POD_IPS', ip, 'an IP address');
  const pod = text('POD_NAME');
  const workload = text('WORKLOAD') || `pod/${pod}`;
  if (!/^[a-z]+\/[a-z0-9.-]+$/.test(workload) && pod) bad('WORKLOAD', workload, 'of the form kind/name');
  const logLevel = text('LOG_LEVEL');
  if (!isLogLevel(logLevel)) bad('LOG_LEVEL', logLevel, `one of ${logLevels.join(', ')}`);
  const accessLog = text('ACCESS_LOG');
  if (!isAccessLogFormat(accessLog)) bad('ACCESS_LOG', accessLog, `one of ${accessLogFormats.join(', ')}`);
  const loadShedding = text('LOAD_SHEDDING');
  if (loadShedding !== 'enabled' && loadShedding !== 'disabled') {
    bad('LOAD_SHEDDING', loadShedding, 'enabled or disabled');
  }
  const opaquePorts: PortRange[] = [];
  for (const part of text('OPAQUE_PORTS').split(',').filter(Boolean)) {
    const range = parsePortRange(part.trim());
    if (range) opaquePorts.push(range);
    else bad('OPAQUE_PORTS', part, 'a port or a range such as 1000-2000');
  }

  const config: ProxyConfig = {
    pod,
    namespace: text('POD_NAMESPACE'),
    podIps,
    node: text('NODE_NAME'),
    serviceAccount: text('SERVICE_ACCOUNT'),
    workload,
    trustDomain,
    controlHost: text('CONTROL_HOST'),
    identityPort: port('IDENTITY_PORT'),
    discoveryPort: port('DISCOVERY_PORT'),
    controlIdentity: controlIdentity as SpiffeId,
    trustBundleFile: text('TRUST_BUNDLE_FILE'),
    tokenFile: text('TOKEN_FILE'),
    opaquePorts,
    loadShedding: loadShedding === 'enabled',
    gracePeriodMs: number('GRACE_PERIOD', 0, 3600) * 1000,
    telemetryIntervalMs: number('TELEMETRY_INTERVAL', 0.1, 3600) * 1000,
    logLevel: isLogLevel(logLevel) ? logLevel : 'info',
    accessLog: isAccessLogFormat(accessLog) ? accessLog : 'off',
    outboundPort: port('OUTBOUND_PORT'),
    inboundPort: port('INBOUND_PORT'),
    hbonePort: port('HBONE_PORT'),
    adminPort: port('ADMIN_PORT'),
  };
  return problems.length > 0 ? { problems } : { config };
}

function parsePortRange(text: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  return from >= 1 && to <= 65535 && from <= to ? { from, to } : undefined;
}

/** Whether a port lies in one of the ranges. */
export function inPortRanges(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some((range) => port >= range.from && port <= range.to);
}
