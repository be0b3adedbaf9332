/** Settings of the control plane: MESH_CONTROL_* and nothing else. */
import { controlNamespace, defaultTrustDomain, imageRepository } from '../protocol/names.ts';
import * as ports from '../protocol/ports.ts';
import { version } from '../protocol/version.ts';
import { isLogLevel, type LogLevel } from './log.ts';

export interface Config {
  trustDomain: string;
  namespace: string;
  podName: string;
  podIp: string;
  logLevel: LogLevel;
  /** Image that the webhook injects. */
  image: string;
  /** Milliseconds. */
  certificateLifetime: number;
  issuerLifetime: number;
  ports: { identity: number; discovery: number; injector: number; peer: number; api: number; admin: number };
}

const units: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `60s`, `24h`, `365d` in milliseconds; undefined for any other text. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+)([smhd])$/.exec(text);
  return match ? Number(match[1]) * units[match[2]!]! : undefined;
}

/** @throws Error naming every variable that is wrong */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const duration = (name: string, fallback: string): number => {
    const parsed = parseDuration(env[name] ?? fallback);
    if (parsed === undefined || parsed < 10_000)
      problems.push(`${name}: "${env[name]}" is not a duration of at least 10s, such as 24h`);
    return parsed ?? 0;
  };
  const level = env.MESH_CONTROL_LOG_LEVEL ?? 'info';
  if (!isLogLevel(level)) problems.push(`MESH_CONTROL_LOG_LEVEL: "${level}" is not error, warn, info or debug`);
  const trustDomain = env.MESH_CONTROL_TRUST_DOMAIN ?? defaultTrustDomain;
  if (!/^[a-z0-9._-]+$/.test(trustDomain))
    problems.push(`MESH_CONTROL_TRUST_DOMAIN: "${trustDomain}" is not a trust domain`);
  const config: Config = {
    trustDomain,
    namespace: env.MESH_CONTROL_NAMESPACE ?? controlNamespace,
    podName: env.MESH_CONTROL_POD_NAME ?? '',
    podIp: env.MESH_CONTROL_POD_IP ?? '',
    logLevel: isLogLevel(level) ? level : 'info',
    image: env.MESH_CONTROL_IMAGE ?? `${imageRepository}:${version}`,
    certificateLifetime: duration('MESH_CONTROL_CERTIFICATE_LIFETIME', '24h'),
    issuerLifetime: duration('MESH_CONTROL_ISSUER_LIFETIME', '365d'),
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
