/** What `mesh stat` is asked for: resources and a window of time. */
import { UsageError } from './errors.ts';
import { nearest } from './nearest.ts';

const kinds: Record<string, string[]> = {
  deployment: ['deploy', 'deployments'],
  statefulset: ['sts', 'statefulsets'],
  daemonset: ['ds', 'daemonsets'],
  replicaset: ['rs', 'replicasets'],
  job: ['jobs'],
  cronjob: ['cj', 'cronjobs'],
  pod: ['po', 'pods'],
  service: ['svc', 'services'],
  namespace: ['ns', 'namespaces'],
  all: [],
};

export interface Resource {
  kind: string;
  name?: string;
}

function kindOf(word: string): string {
  const lower = word.toLowerCase();
  for (const [kind, aliases] of Object.entries(kinds)) if (kind === lower || aliases.includes(lower)) return kind;
  const close = nearest(lower, Object.entries(kinds).flat(2));
  const suggestion = close === undefined ? '' : ` (did you mean ${close}?)`;
  throw new UsageError(`unknown resource type "${word}"${suggestion}`, `one of ${Object.keys(kinds).join(', ')}`);
}

/** `TYPE/NAME` in full words. */
export function resourceName(text: string): string {
  const [type = '', name, ...rest] = text.split('/');
  if (!name || rest.length > 0) throw new UsageError(`"${text}" is not TYPE/NAME`, 'for example deploy/web');
  return `${kindOf(type)}/${name}`;
}

/** `TYPE…`, `TYPE/NAME…`, or `TYPE NAME…`. */
export function parseResources(args: readonly string[]): Resource[] {
  const [first = '', ...rest] = args;
  if (first.includes('/')) {
    return args.map((arg) => {
      const [kind = '', name = ''] = resourceName(arg).split('/');
      return { kind, name };
    });
  }
  if (rest.some((arg) => arg.includes('/'))) throw new UsageError('TYPE and TYPE/NAME cannot be mixed');
  const types = first.split(',').map(kindOf);
  if (rest.length === 0) return types.map((kind) => ({ kind }));
  return types.flatMap((kind) => rest.map((name) => ({ kind, name })));
}

/** Seconds of `30s`, `5m`, `1h`; 10 to 3600. */
export function parseWindow(text: string): number {
  const match = /^(\d+)(s|m|h)$/.exec(text);
  const seconds = match ? Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2] as 's' | 'm' | 'h'] : 0;
  if (seconds < 10 || seconds > 3600) {
    throw new UsageError(`time window "${text}" is not between 10s and 1h`, 'for example -t 5m');
  }
  return seconds;
}
