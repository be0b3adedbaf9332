/** What a Service asks of the proxies of its clients, by annotation: timeouts, retries, failure accrual. */
import { configPrefix } from './names.ts';

/** Times in milliseconds; what is absent does not hold. */
export interface TrafficPolicy {
  timeouts?: {
    /** A request with all its tries, up to the end of the response. */
    request?: number;
    /** A try, up to the head of its response. */
    response?: number;
    /** No byte either way. */
    idle?: number;
  };
  retry?: {
    /** Response statuses, as pairs of the first and last of a range. */
    statuses: [number, number][];
    /** gRPC statuses by number. */
    grpc: number[];
    /** Retries of one request at most. */
    limit: number;
    /** Methods that may be sent again; the idempotent ones where absent. */
    methods?: string[];
  };
  /** Failed responses in a row eject an endpoint, as failed connections always do. */
  failureAccrual?: 'consecutive';
}

/** An annotation that says nothing a proxy could do. */
export interface PolicyProblem {
  annotation: string;
  /** What is wrong with it and what would be right; a sentence without a full stop. */
  message: string;
}

const longestMs = 24 * 3_600_000;
const unitMs: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const maxLimit = 10;

/** Names of retry that stand for statuses. */
const statusNames: Record<string, [number, number]> = { '5xx': [500, 599], 'gateway-error': [502, 504] };

/** gRPC statuses that may be retried, with their number. */
const grpcNames: Record<string, number> = {
  cancelled: 1,
  unknown: 2,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  aborted: 10,
  internal: 13,
  unavailable: 14,
};

/** Every annotation of a policy, without its prefix. */
export const policyAnnotations = [
  'timeout-request',
  'timeout-response',
  'timeout-idle',
  'retry',
  'retry-limit',
  'retry-methods',
  'failure-accrual',
] as const;

type Name = (typeof policyAnnotations)[number];

/**
 * Reads a Service's annotations. What is malformed does not hold, and is told; the others hold. The policy is undefined
 * where there is none.
 */
export function readTrafficPolicy(annotations: Readonly<Record<string, string>> | undefined): {
  policy: TrafficPolicy | undefined;
  problems: PolicyProblem[];
} {
  const problems: PolicyProblem[] = [];
  const read = <T>(name: Name, parse: (text: string) => T | string): Exclude<T, string> | undefined => {
    const text = annotations?.[configPrefix + name];
    if (text === undefined) return undefined;
    const value = parse(text.trim());
    if (typeof value !== 'string') return value as Exclude<T, string>;
    // It names the part that is wrong, or else means the whole.
    const message = value.startsWith('"') ? value : `${JSON.stringify(text)}: ${value}`;
    problems.push({ annotation: configPrefix + name, message });
    return undefined;
  };
  const timeouts = {
    ...given('request', read('timeout-request', duration)),
    ...given('response', read('timeout-response', duration)),
    ...given('idle', read('timeout-idle', duration)),
  };
  const conditions = read('retry', retryConditions);
  const limit = read('retry-limit', retryLimit);
  const methods = read('retry-methods', retryMethods);
  const accrual = read('failure-accrual', (text) =>
    text === 'consecutive' ? { failureAccrual: text as 'consecutive' } : 'it is not consecutive',
  );
  for (const name of ['retry-limit', 'retry-methods'] as const) {
    if (annotations?.[configPrefix + name] === undefined || annotations[`${configPrefix}retry`] !== undefined) continue;
    problems.push({ annotation: configPrefix + name, message: `it says nothing without ${configPrefix}retry` });
  }
  const policy: TrafficPolicy = {
    ...(Object.keys(timeouts).length > 0 ? { timeouts } : {}),
    ...(conditions ? { retry: { ...conditions, limit: limit ?? 1, ...given('methods', methods) } } : {}),
    ...accrual,
  };
  return { policy: Object.keys(policy).length > 0 ? policy : undefined, problems };
}

function given<K extends string, T>(key: K, value: T | undefined): { [key in K]?: T } {
  return (value === undefined ? {} : { [key]: value }) as { [key in K]?: T };
}

function duration(text: string): number | string {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  if (!match) return 'it is not a duration such as 500ms, 2s or 1m';
  const ms = Number(match[1]) * unitMs[match[2]!]!;
  return ms > 0 && ms <= longestMs ? ms : 'a duration is from 1ms to 24h';
}

function retryConditions(text: string): { statuses: [number, number][]; grpc: number[] } | string {
  const statuses: [number, number][] = [];
  const grpc: number[] = [];
  for (const part of list(text)) {
    const range = Object.hasOwn(statusNames, part) ? statusNames[part]! : statusRange(part);
    if (range) statuses.push(range);
    else if (Object.hasOwn(grpcNames, part)) grpc.push(grpcNames[part]!);
    else
      return `${JSON.stringify(part)} is not a status (429, 500-504, 5xx, gateway-error) nor one of gRPC (${Object.keys(grpcNames).join(', ')})`;
  }
  return statuses.length + grpc.length > 0 ? { statuses, grpc } : 'it names no status';
}

/** Errors only: a response that says what the client asked for is not to be asked for again. */
function statusRange(text: string): [number, number] | undefined {
  const match = /^([45]\d\d)(?:-([45]\d\d))?$/.exec(text);
  if (!match) return undefined;
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  return from <= to ? [from, to] : undefined;
}

function retryLimit(text: string): number | string {
  const limit = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  return limit >= 1 && limit <= maxLimit ? limit : `it is not a number from 1 to ${maxLimit}`;
}

function retryMethods(text: string): string[] | string {
  const methods = list(text);
  const wrong = methods.find((one) => !/^[A-Z]{1,20}$/.test(one) || one === 'CONNECT');
  if (wrong !== undefined) return `${JSON.stringify(wrong)} is not a method such as GET or POST`;
  return methods.length > 0 ? methods : 'it names no method';
}

function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
