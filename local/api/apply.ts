/**
 * Server-side apply: every field has managers; an apply may change what it manages, add what nobody has, and takes
 * away what it managed before and names no more. Changing another's field is a conflict, unless forced.
 */
import type { Json, KubeObject } from '../../kube/types.ts';
import { mergeKeys, sameItem } from './merge-keys.ts';
import { StatusError } from './status-error.ts';

interface Manager {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  time: string;
  fieldsType: 'FieldsV1';
  fieldsV1: Json;
}

/** A path as its steps: `f:name` for a field, `k:{…}` for an item of a keyed list. */
type Path = readonly string[];
const isMap = (value: Json): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const identity = new Set(['apiVersion', 'kind', 'status']);
const identityMeta = new Set([
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'managedFields',
  'selfLink',
]);

const itemStep = (keys: readonly string[], item: Json): string =>
  `k:${JSON.stringify(Object.fromEntries(keys.map((key) => [key, item[key] ?? (key === 'protocol' ? 'TCP' : undefined)])))}`;

/** Every leaf of a value: scalars, atomic lists, empty maps. */
function leaves(value: Json, path: Path, field: string, out: Map<string, Path>): void {
  if (isMap(value) && Object.keys(value).length > 0) {
    for (const [name, inner] of Object.entries(value)) {
      if (path.length === 0 && identity.has(name)) continue;
      if (path.length === 1 && path[0] === 'f:metadata' && identityMeta.has(name)) continue;
      leaves(inner, [...path, `f:${name}`], name, out);
    }
  } else if (Array.isArray(value) && mergeKeys(field, value[0])) {
    const keys = mergeKeys(field, value[0])!;
    for (const item of value) leaves(item, [...path, itemStep(keys, item)], '', out);
  } else out.set(JSON.stringify(path), path);
}

function leafPaths(object: Json): Map<string, Path> {
  const out = new Map<string, Path>();
  leaves(object, [], '', out);
  return out;
}

function toFields(paths: Iterable<Path>): Json {
  const root: Json = {};
  for (const path of paths) {
    let at = root;
    for (const step of path) {
      at[step] ??= step.startsWith('k:') ? { '.': {} } : {};
      at = at[step];
    }
  }
  return root;
}

function fromFields(fields: Json, path: Path = [], out = new Map<string, Path>()): Map<string, Path> {
  const steps = Object.keys(fields).filter((step) => step !== '.');
  if (steps.length === 0 && path.length > 0) out.set(JSON.stringify(path), path);
  for (const step of steps) fromFields(fields[step], [...path, step], out);
  return out;
}

/** The value at a path; undefined where there is none. */
function at(object: Json, path: Path): Json {
  let value = object;
  for (const step of path) {
    if (value === undefined || value === null) return undefined;
    value = step.startsWith('f:')
      ? value[step.slice(2)]
      : Array.isArray(value)
        ? value.find((item: Json) => isItem(step, item))
        : undefined;
  }
  return value;
}

function isItem(step: string, item: Json): boolean {
  const key = JSON.parse(step.slice(2)) as Record<string, unknown>;
  return sameItem(Object.keys(key), item, key);
}

/** Whether a path leads to a field that is part of its own item's key. */
function isKeyField(path: Path): boolean {
  const parent = path.at(-2);
  return (
    parent?.startsWith('k:') === true && Object.hasOwn(JSON.parse(parent.slice(2)) as object, path.at(-1)!.slice(2))
  );
}

function remove(object: Json, path: Path): void {
  // The key stays as long as the item does; an item of which only the key is left goes with its last field.
  if (isKeyField(path)) {
    const item = at(object, path.slice(0, -1));
    const keys = Object.keys(JSON.parse(path.at(-2)!.slice(2)) as object);
    if (item && Object.keys(item).every((name) => keys.includes(name))) remove(object, path.slice(0, -1));
    return;
  }
  const parents: [Json, string][] = [];
  let value = object;
  for (const step of path) {
    if (value === undefined || value === null) return;
    parents.push([value, step]);
    value = step.startsWith('f:') ? value[step.slice(2)] : value.find?.((item: Json) => isItem(step, item));
  }
  const [parent, step] = parents.pop()!;
  if (step.startsWith('f:')) delete parent[step.slice(2)];
  else
    parent.splice(
      parent.findIndex((item: Json) => isItem(step, item)),
      1,
    );
  // An item of a keyed list with nothing but its key left was only there for what is gone.
  const owner = parents.pop();
  if (owner?.[1].startsWith('k:')) {
    const keys = Object.keys(JSON.parse(owner[1].slice(2)) as object);
    if (Object.keys(parent).every((name) => keys.includes(name))) remove(object, path.slice(0, -1));
  }
}

function merge(live: Json, applied: Json, field: string): Json {
  if (isMap(applied) && isMap(live)) {
    const next = { ...live };
    for (const [name, value] of Object.entries(applied)) next[name] = merge(live[name], value, name);
    return next;
  }
  if (Array.isArray(applied) && Array.isArray(live)) {
    const keys = mergeKeys(field, applied[0] ?? live[0]);
    if (!keys) return structuredClone(applied);
    const known = applied.map((item) => merge(live.find((entry: Json) => sameItem(keys, entry, item)) ?? {}, item, ''));
    return [...known, ...live.filter((entry: Json) => !applied.some((item) => sameItem(keys, entry, item)))];
  }
  return structuredClone(applied);
}

const managersOf = (object: KubeObject | undefined): Manager[] =>
  structuredClone((object?.metadata.managedFields ?? []) as Manager[]);
const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`;

/** The object after an apply; @throws StatusError 409 naming manager and field of each conflict */
export function applyConfiguration(
  live: KubeObject | undefined,
  applied: KubeObject,
  manager: string,
  force: boolean,
): KubeObject {
  const wanted = leafPaths(applied);
  const managers = managersOf(live);
  const mine = managers.find((one) => one.manager === manager && one.operation === 'Apply');
  const others = managers.filter((one) => one !== mine).map((one) => ({ one, paths: fromFields(one.fieldsV1) }));
  const conflicts: string[] = [];
  for (const [key, path] of wanted) {
    for (const { one, paths } of others) {
      if (!paths.has(key) || JSON.stringify(at(live, path)) === JSON.stringify(at(applied, path))) continue;
      if (force) paths.delete(key);
      else conflicts.push(`conflict with "${one.manager}": .${path.map((step) => step.slice(2)).join('.')}`);
    }
  }
  if (conflicts.length > 0) {
    throw new StatusError(
      409,
      'Conflict',
      `Apply failed with ${conflicts.length} conflict${conflicts.length > 1 ? 's' : ''}: ${conflicts.join('; ')}`,
      {
        causes: conflicts.map((message) => ({ reason: 'FieldManagerConflict', message })),
      },
    );
  }
  const next = structuredClone(
    live
      ? merge(
          live,
          { ...applied, metadata: { ...applied.metadata, managedFields: undefined, resourceVersion: undefined } },
          '',
        )
      : applied,
  ) as KubeObject;
  if (live) {
    next.metadata.resourceVersion = live.metadata.resourceVersion!;
    for (const [key, path] of mine ? fromFields(mine.fieldsV1) : []) {
      if (!wanted.has(key) && !others.some(({ paths }) => paths.has(key))) remove(next, path);
    }
  }
  const unchanged = mine && JSON.stringify(mine.fieldsV1) === JSON.stringify(toFields(wanted.values()));
  const own: Manager = {
    manager,
    operation: 'Apply',
    apiVersion: applied.apiVersion,
    time: unchanged ? mine.time : now(),
    fieldsType: 'FieldsV1',
    fieldsV1: toFields(wanted.values()),
  };
  next.metadata.managedFields = [
    ...others
      .filter(({ paths }) => paths.size > 0)
      .map(({ one, paths }) => ({ ...one, fieldsV1: toFields(paths.values()) })),
    own,
  ];
  return next;
}

/** After any other write: what it changed or added is now its manager's. */
export function recordUpdate(before: KubeObject | undefined, after: KubeObject, manager: string): void {
  const old = before ? leafPaths(before) : new Map<string, Path>();
  const fresh = leafPaths(after);
  const changed = new Map(
    [...fresh].filter(
      ([key, path]) => !old.has(key) || JSON.stringify(at(before, path)) !== JSON.stringify(at(after, path)),
    ),
  );
  const managers = managersOf(before);
  const kept = managers
    .map((one) => ({
      one,
      paths: new Map(
        [...fromFields(one.fieldsV1)].filter(
          ([key]) => fresh.has(key) && !(changed.has(key) && !(one.manager === manager && one.operation === 'Update')),
        ),
      ),
    }))
    .filter(({ paths }) => paths.size > 0);
  if (changed.size > 0) {
    const mine = kept.find(({ one }) => one.manager === manager && one.operation === 'Update');
    if (mine) {
      for (const [key, path] of changed) mine.paths.set(key, path);
      mine.one.time = now();
    } else {
      kept.push({
        one: {
          manager,
          operation: 'Update',
          apiVersion: after.apiVersion,
          time: now(),
          fieldsType: 'FieldsV1',
          fieldsV1: {},
        },
        paths: changed,
      });
    }
  }
  after.metadata.managedFields = kept.map(({ one, paths }) => ({ ...one, fieldsV1: toFields(paths.values()) }));
}
