/** What `mesh stat` is asked for: resources, a window of time, and the other end of the traffic. */
import { parseDuration } from './duration.ts';
import { UsageError } from './errors.ts';
import { kindOf, parseReference, type Reference } from './kinds.ts';

export interface Resource {
  /** A kind in full, or `all`. */
  kind: string;
  name?: string;
}

/** `TYPE…`, `TYPE/NAME…`, or `TYPE NAME…`. */
export function parseResources(args: readonly string[]): Resource[] {
  const [first = '', ...rest] = args;
  if (first.includes('/')) return args.map(parseReference);
  if (rest.some((arg) => arg.includes('/'))) {
    throw new UsageError('TYPE and TYPE/NAME cannot be mixed', 'Use for example deploy/web deploy/cart.');
  }
  const types = first.split(',').map((word) => kindOf(word, ['all']));
  if (rest.length === 0) return types.map((kind) => ({ kind }));
  if (types.includes('all')) throw new UsageError('"all" takes no names', 'Use for example mesh stat deploy web.');
  return types.flatMap((kind) => rest.map((name) => ({ kind, name })));
}

/** Seconds of `30s`, `5m`, `1h`; 10 to 3600. */
export function parseWindow(text: string): number {
  const seconds = parseDuration('--time-window', text) / 1000;
  if (seconds < 10 || seconds > 3600 || !Number.isInteger(seconds)) {
    throw new UsageError(`--time-window "${text}" is not between 10s and 1h`, 'Use for example -t 5m.');
  }
  return seconds;
}

/** The resource of --to or --from. @throws UsageError where no traffic is counted for it */
export function parsePeer(flag: '--to' | '--from', text: string, asked: readonly Resource[]): Reference {
  const peer = parseReference(text);
  if (peer.kind === 'pod') {
    throw new UsageError(
      `${flag} "${text}" is a pod: traffic is counted by workload`,
      'Use its workload: deploy/NAME.',
    );
  }
  if (flag === '--from' && peer.kind === 'service') {
    throw new UsageError(
      `--from "${text}" is a service, which sends nothing`,
      'Use the workload that sends: deploy/NAME.',
    );
  }
  if (flag === '--to' && asked.some(({ kind }) => kind === 'service')) {
    throw new UsageError('Rows of services cannot be limited with --to', 'Use --from, or rows of workloads.');
  }
  return peer;
}
