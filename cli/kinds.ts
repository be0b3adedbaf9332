/** The kinds of resources that commands take, by all their names. */
import { resources } from '../kube/resources.ts';
import type { ResourceType } from '../kube/types.ts';
import { UsageError } from './errors.ts';
import { nearest } from './nearest.ts';

interface Kind {
  /** The shortest name, as in `deploy/web`. */
  short: string;
  aliases: string[];
  type: ResourceType;
}

export const kinds: Record<string, Kind> = {
  deployment: { short: 'deploy', aliases: ['deployments'], type: resources.deployments },
  statefulset: { short: 'sts', aliases: ['statefulsets'], type: resources.statefulSets },
  daemonset: { short: 'ds', aliases: ['daemonsets'], type: resources.daemonSets },
  replicaset: { short: 'rs', aliases: ['replicasets'], type: resources.replicaSets },
  job: { short: 'job', aliases: ['jobs'], type: resources.jobs },
  cronjob: { short: 'cj', aliases: ['cronjobs'], type: resources.cronJobs },
  pod: { short: 'po', aliases: ['pods'], type: resources.pods },
  service: { short: 'svc', aliases: ['services'], type: resources.services },
  namespace: { short: 'ns', aliases: ['namespaces'], type: resources.namespaces },
};

/** `deploy/web` of a kind in full and a name. */
export const shortName = (kind: string, name: string): string => `${kinds[kind]?.short ?? kind}/${name}`;

/** The full word of any name of a kind. @throws UsageError with the nearest one */
export function kindOf(word: string, others: readonly string[] = []): string {
  const lower = word.toLowerCase();
  if (others.includes(lower)) return lower;
  for (const [kind, { short, aliases }] of Object.entries(kinds)) {
    if (kind === lower || short === lower || aliases.includes(lower)) return kind;
  }
  const known = Object.entries(kinds).flatMap(([kind, { short, aliases }]) => [short, kind, ...aliases]);
  const close = nearest(lower, [...known, ...others]);
  throw new UsageError(
    `There is no resource type "${word}"${close === undefined ? '' : ` (did you mean ${close}?)`}`,
    `Use one of ${[...Object.values(kinds).map(({ short }) => short), ...others].join(', ')}.`,
  );
}

export interface Reference {
  kind: string;
  name: string;
}

/** `TYPE/NAME` with the type in full. @throws UsageError */
export function parseReference(text: string): Reference {
  const [type = '', name, ...rest] = text.split('/');
  if (!name || rest.length > 0) throw new UsageError(`"${text}" is not TYPE/NAME`, 'Use for example deploy/web.');
  return { kind: kindOf(type), name };
}
