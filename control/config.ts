/** Settings of the control plane: MESH_CONTROL_* and nothing else. */
import { isTrustDomain } from '../protocol/identity.ts';
import { controlNamespace, defaultTrustDomain, imageRepository } from '../protocol/names.ts';
import * as ports from '../protocol/ports.ts';
import { defaultTraceRatio, isOtlpEndpoint, isTraceRatio, type TracingSettings } from '../protocol/tracing.ts';
import { version } from '../protocol/version.ts';
import { isLogLevel, type LogLevel } from './log.ts';

export interface Config {
  trustDomain: string;
  namespace: string;
  logLevel: LogLevel;
  /** Image that the webhook injects. */
  image: string;
  /** Whether the CNI plugin writes the redirect rules of the pods that the webhook injects. */
  cni: boolean;
  /** null where no collector is named. */
  tracing: TracingSettings | null;
  /** Milliseconds. */
  certificateLifetime: number;
  issuerLifetime: number;
  ports: { identity: number; discovery: number; injector: number; peer: number; api: number; admin: number };
}

/** Every variable, what it is, and its value where it is not set; docs/configuration.md lists the same. */
export const controlVariables = {
  TRUST_DOMAIN: { about: 'Trust domain of every identity.', default: defaultTrustDomain },
  NAMESPACE: { about: 'Namespace of the control plane.', default: controlNamespace },
  IMAGE: { about: 'Image that the webhook injects.', default: `${imageRepository}:<version>` },
  CNI: { about: 'true where the CNI plugin writes the redirect rules of injected pods.', default: 'false' },
  LOG_LEVEL: { about: 'error, warn, info or debug.', default: 'info' },
  OTLP_ENDPOINT: { about: 'Where proxies send spans, by OTLP over HTTP; none where it is not set.', default: '' },
  TRACE_RATIO: {
    about: 'Share of the traces that begin in the mesh that is sampled: 0 to 1.',
    default: defaultTraceRatio,
  },
  CERTIFICATE_LIFETIME: { about: 'How long the certificates of proxies last; at least 10s.', default: '24h' },
  ISSUER_LIFETIME: {
    about: 'How long an issuer lasts; it is replaced at half of that. At least 10s.',
    default: '365d',
  },
} as const;

type ControlVariable = keyof typeof controlVariables;

export const variablePrefix = 'MESH_CONTROL_';
/** Kubernetes may describe the Service `mesh-control` to its own pods in variables of the same prefix. */
const serviceLink = /^MESH_CONTROL_(SERVICE|PORT)(_|$)/;

const units: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `60s`, `24h`, `365d` in milliseconds; undefined for any other text. */
function parseDuration(text: string): number | undefined {
  const match = /^(\d+)([smhd])$/.exec(text);
  return match ? Number(match[1]) * units[match[2]!]! : undefined;
}

/** @throws Error naming every variable that is wrong, or that there is no such variable */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const text = (name: ControlVariable): string => env[variablePrefix + name] || controlVariables[name].default;
  const check = (name: ControlVariable, valid: boolean, want: string): void => {
    if (!valid) problems.push(`${variablePrefix}${name}: "${text(name)}" is not ${want}`);
  };
  const duration = (name: ControlVariable): number => {
    const parsed = parseDuration(text(name)) ?? 0;
    check(name, parsed >= 10_000, 'a duration of at least 10s, such as 24h');
    return parsed;
  };
  for (const name of Object.keys(env))
    if (
      name.startsWith(variablePrefix) &&
      !serviceLink.test(name) &&
      !Object.hasOwn(controlVariables, name.slice(variablePrefix.length))
    )
      problems.push(`${name}: there is no such setting`);
  check('CNI', ['true', 'false'].includes(text('CNI')), 'true or false');
  const logLevel = text('LOG_LEVEL');
  check('LOG_LEVEL', isLogLevel(logLevel), 'error, warn, info or debug');
  const trustDomain = text('TRUST_DOMAIN');
  check('TRUST_DOMAIN', isTrustDomain(trustDomain), 'a trust domain (a-z, 0-9, ".", "_", "-")');
  const endpoint = text('OTLP_ENDPOINT');
  check('OTLP_ENDPOINT', endpoint === '' || isOtlpEndpoint(endpoint), 'an address such as http://collector:4318');
  check('TRACE_RATIO', isTraceRatio(text('TRACE_RATIO')), 'a number from 0 to 1');
  const config: Config = {
    trustDomain,
    namespace: text('NAMESPACE'),
    logLevel: isLogLevel(logLevel) ? logLevel : 'info',
    image: env.MESH_CONTROL_IMAGE || `${imageRepository}:${version}`,
    cni: text('CNI') === 'true',
    tracing: endpoint === '' ? null : { endpoint, ratio: Number(text('TRACE_RATIO')) },
    certificateLifetime: duration('CERTIFICATE_LIFETIME'),
    issuerLifetime: duration('ISSUER_LIFETIME'),
    ports: {
      identity: ports.identityPort,
      discovery: ports.discoveryPort,
      injector: ports.injectorPort,
      peer: ports.peerPort,
      api: ports.apiPort,
      admin: ports.controlAdminPort,
    },
  };
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return config;
}
