/** What the workload controllers share: ownership, selectors, pods from templates. */
import { createHash } from 'node:crypto';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject, OwnerReference, ResourceType } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';

/** On an object that is deleted in the foreground: it stays until nothing depends on it. */
export const foregroundFinalizer = 'foregroundDeletion';

export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** Whether labels meet a selector; an empty selector meets all, as in Kubernetes. */
export function matches(selector: LabelSelector | undefined, labels: Record<string, string> = {}): boolean {
  if (!selector) return false;
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (labels[key] !== value) return false;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = labels[key];
    if (operator === 'In' && !(value !== undefined && values.includes(value))) return false;
    if (operator === 'NotIn' && value !== undefined && values.includes(value)) return false;
    if (operator === 'Exists' && value === undefined) return false;
    if (operator === 'DoesNotExist' && value !== undefined) return false;
  }
  return true;
}

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller);
}

export function ownedBy(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name!,
    uid: owner.metadata.uid!,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Objects of a type in the owner's namespace that it controls. */
export function controlledBy<T extends KubeObject>(objects: Objects, type: ResourceType, owner: KubeObject): T[] {
  return objects
    .list<T>(type, { namespace: owner.metadata.namespace! })
    .filter((object) => controllerOf(object)?.uid === owner.metadata.uid);
}

/**
 * What a workload has: objects that it controls and its selector matches. Matching ones that nobody controls become
 * its own; those of its own that match no more are let go.
 */
export async function claim<T extends KubeObject>(
  objects: Objects,
  type: ResourceType,
  owner: KubeObject,
): Promise<T[]> {
  const claimed: T[] = [];
  for (const object of objects.list<T>(type, { namespace: owner.metadata.namespace! })) {
    const controller = controllerOf(object);
    const fits = matches(owner.spec.selector, object.metadata.labels);
    const leaving = object.metadata.deletionTimestamp !== undefined;
    if (controller?.uid === owner.metadata.uid) {
      if (fits || leaving) claimed.push(object);
      else await setOwners(objects, type, object, (owners) => owners.filter((one) => one.uid !== owner.metadata.uid));
    } else if (!controller && fits && !leaving) {
      claimed.push(await setOwners(objects, type, object, (owners) => [...owners, ownedBy(owner)]));
    }
  }
  return claimed;
}

function setOwners<T extends KubeObject>(
  objects: Objects,
  type: ResourceType,
  object: T,
  change: (owners: OwnerReference[]) => OwnerReference[],
): Promise<T> {
  const next = structuredClone(object);
  next.metadata.ownerReferences = change(next.metadata.ownerReferences ?? []);
  return objects.update(type, next);
}

/** A pod of a workload's template. */
export function podFrom(
  owner: KubeObject,
  template: Json,
  options: { name?: string; labels?: Record<string, string> } = {},
): KubeObject {
  const metadata = structuredClone(template.metadata ?? {});
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      ...(options.name ? { name: options.name } : { generateName: `${owner.metadata.name}-` }),
      namespace: owner.metadata.namespace!,
      labels: { ...metadata.labels, ...options.labels },
      ownerReferences: [ownedBy(owner)],
    },
    spec: structuredClone(template.spec),
  };
}

/** Ten characters that name a template's content; the same for the same content, whatever the order of its keys. */
export function templateHash(template: Json): string {
  return createHash('sha256').update(stable(template)).digest('hex').slice(0, 10);
}

function stable(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(stable).join(',')}]`;
  if (value && typeof value === 'object') {
    return `{${Object.keys(value)
      // kubectl writes `creationTimestamp: null` into templates that it puts back.
      .filter((key) => value[key] !== undefined && value[key] !== null)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${stable(value[key])}`)
      .join(',')}}`;
  }
  return JSON.stringify(value ?? null);
}

export function isActive(pod: KubeObject): boolean {
  return !pod.metadata.deletionTimestamp && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';
}

export function isReady(pod: KubeObject): boolean {
  return condition(pod, 'Ready')?.status === 'True';
}

export function condition(object: KubeObject, type: string): Json | undefined {
  return object.status?.conditions?.find((entry: Json) => entry.type === type);
}

/** Ready for at least the given time. */
export function isAvailable(pod: KubeObject, minReadySeconds: number): boolean {
  const ready = condition(pod, 'Ready');
  if (ready?.status !== 'True' || pod.metadata.deletionTimestamp) return false;
  return minReadySeconds === 0 || Date.now() - Date.parse(ready.lastTransitionTime) >= minReadySeconds * 1000;
}

/** `25%` of a number or a plain count. */
export function scaled(
  value: number | string | undefined,
  of: number,
  roundUp: boolean,
  fallback: number | string,
): number {
  const chosen = value ?? fallback;
  if (typeof chosen === 'number') return chosen;
  const share = (Number.parseFloat(chosen) / 100) * of;
  return roundUp ? Math.ceil(share) : Math.floor(share);
}

/** A condition list with one condition set; its transition time changes only when its status does. */
export function withCondition(
  conditions: Json[] | undefined,
  next: { type: string; status: string; reason: string; message: string },
): Json[] {
  const list = [...(conditions ?? [])];
  const index = list.findIndex((entry) => entry.type === next.type);
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const old = index >= 0 ? list[index] : undefined;
  if (old && old.status === next.status && old.reason === next.reason && old.message === next.message) return list;
  const entry = {
    ...next,
    lastUpdateTime: now,
    lastTransitionTime: old?.status === next.status ? old.lastTransitionTime : now,
  };
  if (index >= 0) list[index] = entry;
  else list.push(entry);
  return list;
}

export const podType = resources.pods;
