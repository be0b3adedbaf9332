/** The patches kubectl sends: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch. */
import { applyPatch, type Operation } from 'rfc6902';
import type { Json } from '../../kube/types.ts';
import { mergeKeys, sameItem } from './merge-keys.ts';
import { badRequest, StatusError } from './status-error.ts';

const isMap = (value: Json): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

export function jsonPatch(object: Json, operations: Json): Json {
  if (!Array.isArray(operations)) throw badRequest('a JSON patch is a list of operations');
  const next = structuredClone(object);
  const problem = applyPatch(next, operations as Operation[]).find((error) => error);
  if (problem) throw new StatusError(422, 'Invalid', `the patch does not apply: ${problem.message}`);
  return next;
}

export function mergePatch(object: Json, patch: Json): Json {
  if (!isMap(patch)) return structuredClone(patch);
  const next: Json = isMap(object) ? { ...object } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete next[field];
    else next[field] = mergePatch(next[field], value);
  }
  return next;
}

/** Merge patch in which lists with keys are merged item by item, with kubectl's directives. */
export function strategicPatch(object: Json, patch: Json): Json {
  if (!isMap(patch)) return structuredClone(patch);
  if (patch.$patch === 'replace') {
    const { $patch: _, ...rest } = patch;
    return structuredClone(rest);
  }
  let next: Json = isMap(object) ? { ...object } : {};
  if (Array.isArray(patch.$retainKeys))
    next = Object.fromEntries(Object.entries(next).filter(([field]) => patch.$retainKeys.includes(field)));
  for (const [field, value] of Object.entries<Json>(patch)) {
    if (field === '$patch' || field === '$retainKeys' || field.startsWith('$setElementOrder/')) continue;
    if (field.startsWith('$deleteFromPrimitiveList/')) {
      const name = field.slice(field.indexOf('/') + 1);
      next[name] = (next[name] ?? []).filter((item: Json) => !value.includes(item));
    } else if (value === null) delete next[field];
    else if (Array.isArray(value))
      next[field] = mergeList(field, next[field], value, patch[`$setElementOrder/${field}`]);
    else next[field] = strategicPatch(next[field], value);
  }
  return next;
}

function mergeList(field: string, old: Json, patch: Json[], order: Json[] | undefined): Json[] {
  const keys = mergeKeys(
    field,
    patch.find((item) => isMap(item) && item.$patch !== 'replace') ?? (Array.isArray(old) ? old[0] : undefined),
  );
  if (!keys) {
    // Finalizers merge as a set of texts; every other list is replaced.
    return field === 'finalizers' ? [...new Set([...(old ?? []), ...patch])] : structuredClone(patch);
  }
  if (patch.some((item) => item.$patch === 'replace'))
    return structuredClone(patch.filter((item) => item.$patch !== 'replace'));
  // kubectl's own key for ports is the number alone.
  const own = field === 'ports' ? keys.slice(0, 1) : keys;
  const list: Json[] = Array.isArray(old) ? [...old] : [];
  for (const item of patch) {
    const at = list.findIndex((entry) => sameItem(own, entry, item));
    if (item.$patch === 'delete') {
      if (at >= 0) list.splice(at, 1);
    } else if (at >= 0) list[at] = strategicPatch(list[at], item);
    else list.push(strategicPatch({}, item));
  }
  if (order) {
    const rank = (entry: Json) => {
      const at = order.findIndex((item) => sameItem(own, entry, item));
      return at < 0 ? order.length : at;
    };
    list.sort((a, b) => rank(a) - rank(b));
  }
  return list;
}
