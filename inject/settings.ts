/** The annotations of the mesh that people write, and which values they take; docs/injection.md lists the same. */
import { accessLogFormats, logLevels } from '../protocol/diagnostics.ts';
import {
  annotatedAnnotation,
  configPrefix,
  createdAnnotation,
  injectAnnotation,
  meshPrefix,
  proxyVersionAnnotation,
  redirectAnnotation,
  workloadAnnotation,
} from '../protocol/names.ts';
import { policyAnnotations, readTrafficPolicy } from '../protocol/traffic-policy.ts';

export interface Setting {
  description: string;
  /** The values it takes, in words. */
  allowed: string;
  example: string;
  valid: (value: string) => boolean;
}

/** Comma list of ports and ranges, 1 to 65535. */
function ports(value: string): boolean {
  return value.split(',').every((part) => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (!match) return false;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    return from >= 1 && to <= 65535 && from <= to;
  });
}

const portList = 'ports and ranges from 1 to 65535, separated by commas';
const quantity = (value: string) => /^\d+(\.\d+)?(m|k|M|G|Ki|Mi|Gi)?$/.test(value);
const isOneOf = (allowed: readonly string[]) => (value: string) => allowed.includes(value);

export const settings = {
  'skip-inbound-ports': {
    description: 'Ports whose inbound connections bypass the proxy',
    allowed: portList,
    example: '9000,9100-9110',
    valid: ports,
  },
  'skip-outbound-ports': {
    description: 'Ports whose outbound connections bypass the proxy',
    allowed: portList,
    example: '25',
    valid: ports,
  },
  'opaque-ports': {
    description: 'Inbound ports carried as TCP without parsing; on a Service too, for its own ports',
    allowed: portList,
    example: '3306,5432',
    valid: ports,
  },
  'proxy-cpu-request': {
    description: 'CPU the proxy requests',
    allowed: 'a quantity of Kubernetes',
    example: '100m',
    valid: quantity,
  },
  'proxy-memory-request': {
    description: 'Memory the proxy requests',
    allowed: 'a quantity of Kubernetes',
    example: '64Mi',
    valid: quantity,
  },
  'proxy-log-level': {
    description: 'Log level of the proxy',
    allowed: 'error, warn, info or debug',
    example: 'info',
    valid: isOneOf(logLevels),
  },
  'access-log': {
    description: 'A line per request on the stdout of the proxy',
    allowed: 'json, common or off',
    example: 'json',
    valid: isOneOf(accessLogFormats),
  },
  'load-shedding': {
    description: 'Whether requests are turned away while the application is overloaded (overload.md)',
    allowed: 'enabled or disabled',
    example: 'enabled',
    valid: isOneOf(['enabled', 'disabled']),
  },
  'shutdown-grace-period': {
    description: 'How long the proxy waits for requests in flight when it stops',
    allowed: 'seconds from 0 to 3600',
    example: '30',
    valid: (value) => /^\d{1,4}s?$/.test(value) && Number.parseInt(value, 10) <= 3600,
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** What may stand on a Service, besides the traffic policy of its clients' proxies. */
const serviceSettings: readonly string[] = ['opaque-ports'];
const servicePolicy: readonly string[] = policyAnnotations;
/** Written by `mesh inject` alone. */
const ownAnnotations: readonly string[] = [
  proxyVersionAnnotation,
  workloadAnnotation,
  redirectAnnotation,
  createdAnnotation,
  annotatedAnnotation,
];

type Annotations = Record<string, unknown>;

/** What is wrong with one annotation, with the values it takes; undefined for a good one or one of somebody else. */
function problemOf(key: string, value: unknown, place: 'pod' | 'service'): string | undefined {
  const config = key.startsWith(configPrefix);
  if (!config && !key.startsWith(meshPrefix)) return undefined;
  const names = place === 'service' ? [...serviceSettings, ...servicePolicy] : Object.keys(settings);
  if (!config && key !== injectAnnotation)
    return ownAnnotations.includes(key)
      ? undefined
      : `${key} is no annotation of the mesh; those are ${injectAnnotation} and ${configPrefix}*`;
  if (typeof value !== 'string') return `${key}: ${JSON.stringify(value)} is not a text; put it in quotes`;
  if (!config)
    return value === 'enabled' || value === 'disabled' ? undefined : `${key}: "${value}" is not enabled or disabled`;
  const name = key.slice(configPrefix.length);
  if (!names.includes(name)) {
    if (servicePolicy.includes(name)) return `${key} has an effect on a Service only`;
    return Object.hasOwn(settings, name)
      ? `${key} has no effect on a service; only ${names.join(', ')} have`
      : `${key} is no setting; those are ${names.join(', ')}`;
  }
  // Those of a policy are judged together.
  if (servicePolicy.includes(name)) return undefined;
  const { valid, allowed, example } = settings[name as SettingName];
  return valid(value) ? undefined : `${key}: "${value}" is not ${allowed}, such as ${example}`;
}

/** Everything wrong with the mesh's annotations of one object. */
export function annotationProblems(annotations: Annotations | null | undefined, place: 'pod' | 'service'): string[] {
  const all = Object.entries(annotations ?? {});
  const problems = all.flatMap(([key, value]) => problemOf(key, value, place) ?? []);
  if (place === 'pod') return problems;
  const texts = Object.fromEntries(all.filter((one): one is [string, string] => typeof one[1] === 'string'));
  return [...problems, ...readTrafficPolicy(texts).problems.map((one) => `${one.annotation}: ${one.message}`)];
}

/** Settings in force: the namespace's, then the pod's; what is wrong is left out and said in `problems`. */
export function readSettings(
  namespace: Annotations | undefined,
  pod: Annotations | undefined,
): { values: Partial<Record<SettingName, string>>; problems: string[] } {
  const values: Partial<Record<SettingName, string>> = {};
  const problems = new Set<string>();
  for (const annotations of [namespace, pod]) {
    for (const [key, value] of Object.entries(annotations ?? {})) {
      const problem = problemOf(key, value, 'pod');
      if (problem !== undefined) problems.add(annotations === pod ? problem : `${problem} (on the namespace)`);
      else if (key.startsWith(configPrefix)) values[key.slice(configPrefix.length) as SettingName] = value as string;
    }
  }
  return { values, problems: [...problems] };
}
