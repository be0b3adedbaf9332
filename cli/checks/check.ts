/** What a check is, and what it may ask. */
import type { KubeClient } from '../../kube/client.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { ControlStatus, ProxyInfo, UnmeshedPod } from '../../protocol/api.ts';

export interface CheckContext {
  kube(): Promise<KubeClient>;
  /** Of every ready replica, with the clock of this machine (ms) half-way between question and answer. */
  status(): Promise<{ status: ControlStatus; askedAt: number }[]>;
  /** Proxies connected to any replica. */
  proxies(): Promise<ProxyInfo[]>;
  /** Pods with a proxy that run or shall run, in the namespace asked for or in all. */
  meshedPods(): Promise<KubeObject[]>;
  /** Pods that should have a proxy and have none, in the namespace asked for or in all. */
  unmeshedPods(): Promise<UnmeshedPod[]>;
  namespaces(): Promise<KubeObject[]>;
  /** Of -n: the data plane to look at; undefined for all. */
  namespace: string | undefined;
  now(): Date;
}

export interface Check {
  /** Anchor of docs/checks.md, where `section` names no other. */
  id: string;
  section?: string;
  description: string;
  fix: string;
  /** When it fails, the rest of its category and what needs the category is skipped. */
  fatal?: true;
  /** Passes by itself once what is starting has started; nothing else is waited for. */
  retryable?: true;
  /** Resolves when all is well, with what is worth knowing. @throws CheckWarning, or Error saying what is wrong */
  run(context: CheckContext): Promise<string | undefined>;
}

export interface Category {
  name: string;
  /** Categories without which this one has nothing to look at. */
  needs?: string[];
  /** Whether it is looked at at all; always, where it is not said. */
  applies?(context: CheckContext): Promise<boolean>;
  checks: Check[];
}

/** What a check throws for `warning`: it does not fail the run. */
export class CheckWarning extends Error {}

/** What a check throws where the cause has a fix of its own, or one that does not go by itself. */
export class CheckError extends Error {
  readonly fix: string | undefined;
  /** It is not waited for, though the check is retryable. */
  readonly stays: boolean;

  constructor(message: string, fix: string | undefined, stays = false) {
    super(message);
    this.fix = fix;
    this.stays = stays;
  }
}

/** @throws Error with `why` */
export function need(ok: unknown, why: string): asserts ok {
  if (!ok) throw new Error(why);
}

/** @throws Error naming those of the objects that the cluster does not have */
export async function allThere(context: CheckContext, objects: KubeObject[]): Promise<undefined> {
  const kube = await context.kube();
  const found = await Promise.all(
    objects.map(async ({ apiVersion, kind, metadata }) => {
      const type = await kube.resolve(apiVersion, kind);
      return type && kube.find(type, metadata.name!, metadata.namespace);
    }),
  );
  const missing = objects.filter((_, index) => !found[index]);
  need(
    missing.length === 0,
    `missing: ${missing.map((object) => `${object.kind.toLowerCase()}/${object.metadata.name}`).join(', ')}`,
  );
  return undefined;
}

const shown = 5;

/** A sentence and the objects it is about, one a line; many are counted. */
export function listed(sentence: string, objects: readonly string[]): string {
  const more = objects.length > shown ? [`* and ${objects.length - shown} more`] : [];
  return [`${sentence}:`, ...objects.slice(0, shown).map((one) => `* ${one}`), ...more].join('\n');
}

export const podName = (pod: KubeObject): string => `${pod.metadata.namespace}/${pod.metadata.name}`;

const day = 86_400_000;
const hour = 3_600_000;

/** `2036-11-22, 3650 days` */
export function until(time: string, now: number): string {
  const left = Date.parse(time) - now;
  return `${time.slice(0, 10)}, ${left < 2 * day ? `${Math.floor(left / hour)} hours` : `${Math.floor(left / day)} days`}`;
}

export const days = (count: number): number => count * day;
