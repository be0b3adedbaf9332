/** Label and field selectors as kubectl writes them. */
import type { KubeObject } from '../../kube/types.ts';
import { badRequest } from './status-error.ts';

export type Filter = (object: KubeObject) => boolean;

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k` */
export function labelFilter(text: string): Filter {
  const filters: Filter[] = [];
  for (const part of text
    .split(/,(?![^(]*\))/)
    .map((piece) => piece.trim())
    .filter(Boolean)) {
    const sets = /^(\S+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(part);
    const compare = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(part);
    const exists = /^(!?)([^=!\s(),]+)$/.exec(part);
    const label = (object: KubeObject, key: string) => object.metadata.labels?.[key];
    if (sets) {
      const values = sets[3]!.split(',').map((value) => value.trim());
      const within = sets[2] === 'in';
      filters.push((object) => {
        const value = label(object, sets[1]!);
        return within ? value !== undefined && values.includes(value) : value === undefined || !values.includes(value);
      });
    } else if (compare) {
      filters.push((object) => (label(object, compare[1]!) === compare[3]) === (compare[2] !== '!='));
    } else if (exists) {
      filters.push((object) => (label(object, exists[2]!) !== undefined) === (exists[1] === ''));
    } else throw badRequest(`unable to parse requirement: ${part}`);
  }
  return (object) => filters.every((filter) => filter(object));
}

/** `metadata.name=x,status.phase!=Running`, over any path of the object. */
export function fieldFilter(text: string): Filter {
  const filters = text
    .split(',')
    .filter(Boolean)
    .map((part): Filter => {
      const match = /^([\w.]+)(==|=|!=)(.*)$/.exec(part.trim());
      if (!match) throw badRequest(`invalid field selector: ${part}`);
      const path = match[1]!.split('.');
      return (object) => {
        let value: unknown = object;
        for (const step of path) value = (value as Record<string, unknown> | undefined)?.[step];
        return (String(value ?? '') === match[3]) === (match[2] !== '!=');
      };
    });
  return (object) => filters.every((filter) => filter(object));
}
