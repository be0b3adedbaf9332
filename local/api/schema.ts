/** Structural schemas of custom resource definitions: defaults, fields that are unknown, values that do not fit. */
import type { Json } from '../../kube/types.ts';

export interface Problem {
  field: string;
  reason: 'FieldValueInvalid' | 'FieldValueRequired' | 'FieldValueNotSupported' | 'FieldValueTypeInvalid';
  message: string;
}

const isMap = (value: Json): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const shown = (value: Json): string => JSON.stringify(value);
const join = (path: string, field: string): string => (path ? `${path}.${field}` : field);

/** Fields of every object, whatever its schema says. */
const ownFields = new Set(['apiVersion', 'kind', 'metadata']);

/** Fills in what is absent and has a default, in place. */
export function fillDefaults(schema: Json, value: Json): void {
  if (isMap(value)) {
    for (const [name, inner] of Object.entries<Json>(schema?.properties ?? {})) {
      // A null where null is not allowed counts as absent.
      const absent = value[name] === undefined || (value[name] === null && !inner.nullable);
      if (absent && inner.default !== undefined) value[name] = structuredClone(inner.default);
      fillDefaults(inner, value[name]);
    }
    if (isMap(schema?.additionalProperties))
      for (const inner of Object.values(value)) fillDefaults(schema.additionalProperties, inner);
  } else if (Array.isArray(value)) for (const item of value) fillDefaults(schema?.items, item);
}

/** Takes fields that no schema names out of a value, in place; returns their paths. */
export function prune(schema: Json, value: Json, path = ''): string[] {
  if (Array.isArray(value)) {
    return schema?.items ? value.flatMap((item, index) => prune(schema.items, item, `${path}[${index}]`)) : [];
  }
  if (!isMap(value) || !schema || schema['x-kubernetes-int-or-string']) return [];
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true;
  const embedded = path === '' || schema['x-kubernetes-embedded-resource'] === true;
  const unknown: string[] = [];
  for (const name of Object.keys(value)) {
    const known = schema.properties?.[name];
    const other = schema.additionalProperties;
    if (embedded && ownFields.has(name)) continue;
    if (known) unknown.push(...prune(known, value[name], join(path, name)));
    else if (isMap(other)) unknown.push(...prune(other, value[name], join(path, name)));
    else if (other !== true && !open) {
      unknown.push(join(path, name));
      delete value[name];
    }
  }
  return unknown;
}

const typeOf = (value: Json): string => {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
};

/** What of a value does not fit its schema, in the words of Kubernetes. */
export function check(schema: Json, value: Json, path = ''): Problem[] {
  if (!schema || value === undefined) return [];
  const invalid = (message: string, field = path): Problem => ({ field, reason: 'FieldValueInvalid', message });
  const says = (what: string): Problem => invalid(`Invalid value: ${shown(value)}: ${path || 'it'} in body ${what}`);
  if (value === null && schema.nullable) return [];
  const found = typeOf(value);
  if (schema['x-kubernetes-int-or-string']) {
    return found === 'integer' || found === 'string' ? [] : [says(`must be of type integer,string: ${shown(found)}`)];
  }
  const fits = !schema.type || schema.type === found || (schema.type === 'number' && found === 'integer');
  if (!fits) {
    const message = `Invalid value: ${shown(found)}: ${path || 'it'} in body must be of type ${schema.type}: ${shown(found)}`;
    return [{ field: path, reason: 'FieldValueTypeInvalid', message }];
  }
  const problems: Problem[] = [];
  if (schema.enum && !schema.enum.some((one: Json) => shown(one) === shown(value))) {
    const supported = schema.enum.map(shown).join(', ');
    const message = `Unsupported value: ${shown(value)}: supported values: ${supported}`;
    problems.push({ field: path, reason: 'FieldValueNotSupported', message });
  }
  if (typeof value === 'string') problems.push(...checkText(schema, value, says));
  if (typeof value === 'number') problems.push(...checkNumber(schema, value, says));
  if (Array.isArray(value)) problems.push(...checkList(schema, value, path, says));
  if (isMap(value)) problems.push(...checkMap(schema, value, path, says));
  problems.push(...checkCombined(schema, value, path, says));
  return problems;
}

type Say = (what: string) => Problem;

function checkText(schema: Json, value: string, says: Say): Problem[] {
  const problems: Problem[] = [];
  const length = [...value].length;
  if (schema.maxLength !== undefined && length > schema.maxLength)
    problems.push(says(`should be at most ${schema.maxLength} chars long`));
  if (schema.minLength !== undefined && length < schema.minLength)
    problems.push(says(`should be at least ${schema.minLength} chars long`));
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value))
    problems.push(says(`should match '${schema.pattern}'`));
  if (schema.format === 'date-time' && Number.isNaN(Date.parse(value)))
    problems.push(says('must be of type date-time'));
  return problems;
}

function checkNumber(schema: Json, value: number, says: Say): Problem[] {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  const problems: Problem[] = [];
  if (minimum !== undefined && (value < minimum || (exclusiveMinimum && value === minimum)))
    problems.push(says(`should be greater than ${exclusiveMinimum ? '' : 'or equal to '}${minimum}`));
  if (maximum !== undefined && (value > maximum || (exclusiveMaximum && value === maximum)))
    problems.push(says(`should be less than ${exclusiveMaximum ? '' : 'or equal to '}${maximum}`));
  if (multipleOf !== undefined && value % multipleOf !== 0)
    problems.push(says(`should be a multiple of ${multipleOf}`));
  return problems;
}

function checkList(schema: Json, value: Json[], path: string, says: Say): Problem[] {
  const problems: Problem[] = [];
  if (schema.maxItems !== undefined && value.length > schema.maxItems)
    problems.push(says(`should have at most ${schema.maxItems} items`));
  if (schema.minItems !== undefined && value.length < schema.minItems)
    problems.push(says(`should have at least ${schema.minItems} items`));
  const kind = schema['x-kubernetes-list-type'];
  const keys: string[] = schema['x-kubernetes-list-map-keys'] ?? [];
  if (kind === 'set' || kind === 'map' || schema.uniqueItems) {
    const seen = new Set<string>();
    value.forEach((item, index) => {
      const key = kind === 'map' ? Object.fromEntries(keys.map((one) => [one, item?.[one]])) : item;
      if (seen.has(shown(key))) {
        const message = `Duplicate value: ${shown(key)}`;
        problems.push({ field: `${path}[${index}]`, reason: 'FieldValueInvalid', message });
      }
      seen.add(shown(key));
    });
  }
  return [...problems, ...value.flatMap((item, index) => check(schema.items, item, `${path}[${index}]`))];
}

function checkMap(schema: Json, value: Json, path: string, says: Say): Problem[] {
  const problems: Problem[] = [];
  for (const name of schema.required ?? [])
    if (value[name] === undefined)
      problems.push({ field: join(path, name), reason: 'FieldValueRequired', message: 'Required value' });
  const count = Object.keys(value).length;
  if (schema.maxProperties !== undefined && count > schema.maxProperties)
    problems.push(says(`should have at most ${schema.maxProperties} properties`));
  if (schema.minProperties !== undefined && count < schema.minProperties)
    problems.push(says(`should have at least ${schema.minProperties} properties`));
  for (const [name, inner] of Object.entries(value)) {
    const known =
      schema.properties?.[name] ?? (isMap(schema.additionalProperties) ? schema.additionalProperties : undefined);
    problems.push(...check(known, inner, join(path, name)));
  }
  return problems;
}

function checkCombined(schema: Json, value: Json, path: string, says: Say): Problem[] {
  const passes = (one: Json): boolean => check(one, value, path).length === 0;
  const problems: Problem[] = (schema.allOf ?? []).flatMap((one: Json) => check(one, value, path));
  if (schema.anyOf && !schema.anyOf.some(passes)) problems.push(says('must validate at least one schema (anyOf)'));
  if (schema.oneOf && schema.oneOf.filter(passes).length !== 1)
    problems.push(says('must validate one and only one schema (oneOf)'));
  if (schema.not && passes(schema.not)) problems.push(says('must not validate the schema (not)'));
  return problems;
}
