/** Custom resource definitions, and what they say about their objects. */
import { JSONPath } from 'jsonpath-plus';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { check, fillDefaults, type Problem, prune } from './schema.ts';

export interface CustomKind {
  definition: KubeObject;
  /** The entry of `spec.versions`. */
  version: Json;
}

/** What defines a type; undefined for types that are built in. */
export function customKind(objects: Objects, type: ResourceType): CustomKind | undefined {
  const definition = objects.get(resources.customResourceDefinitions, `${type.plural}.${type.group}`);
  const version = definition?.spec.versions.find((one: Json) => one.name === type.version);
  return definition && version && { definition, version };
}

const schemaOf = (kind: CustomKind): Json => kind.version.schema?.openAPIV3Schema;

/** Paths of fields that the schema does not know; the object stays as it is. */
export function unknownFields(kind: CustomKind, object: KubeObject): string[] {
  return prune(schemaOf(kind), structuredClone(object));
}

/** Brings an object into its schema's form, in place, and tells what does not fit. */
export function fitCustom(kind: CustomKind, object: KubeObject): Problem[] {
  const schema = schemaOf(kind);
  prune(schema, object);
  fillDefaults(schema, object);
  // Kind, version and metadata are checked for every object; a schema that names them says nothing more.
  const { apiVersion: _version, kind: _kind, metadata: _metadata, ...content } = object;
  const { apiVersion: _a, kind: _b, metadata: _c, ...properties } = schema?.properties ?? {};
  const required = (schema?.required ?? []).filter(
    (field: string) => !['apiVersion', 'kind', 'metadata'].includes(field),
  );
  return check(schema && { ...schema, properties, required }, content);
}

export const hasStatus = (kind: CustomKind): boolean => kind.version.subresources?.status !== undefined;

/** Fields of the scale subresource, where there is one. */
export function scalePaths(kind: CustomKind): { replicas: string[]; status: string[]; selector: string[] } | undefined {
  const scale = kind.version.subresources?.scale;
  const steps = (path: string | undefined): string[] => (path ?? '').split('.').filter(Boolean);
  return (
    scale && {
      replicas: steps(scale.specReplicasPath),
      status: steps(scale.statusReplicasPath),
      selector: steps(scale.labelSelectorPath),
    }
  );
}

/** A cell of `additionalPrinterColumns`. */
export function columnValue(column: Json, object: KubeObject): Json {
  const found = JSONPath({ path: `$${column.jsonPath}`, json: object, eval: 'safe', wrap: true }) as Json[];
  const value = found[0];
  return value !== null && typeof value === 'object' ? JSON.stringify(value) : value;
}

/** A definition as the server accepts it: its names are established with its creation. */
export function establish(definition: KubeObject): void {
  const { names, versions = [] } = definition.spec ?? {};
  if (!names) return;
  names.singular ??= names.kind?.toLowerCase();
  names.listKind ??= `${names.kind}List`;
  definition.spec.conversion ??= { strategy: 'None' };
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const condition = (type: string, reason: string, message: string): object => {
    const old = definition.status?.conditions?.find((one: Json) => one.type === type);
    return { type, status: 'True', reason, message, lastTransitionTime: old?.lastTransitionTime ?? now };
  };
  const stored: string[] = definition.status?.storedVersions ?? [];
  const current: string[] = versions.filter((one: Json) => one.storage).map((one: Json) => one.name);
  definition.status = {
    ...definition.status,
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
    acceptedNames: names,
    storedVersions: [...new Set([...stored, ...current])],
  };
}

/** What is wrong with a definition itself. */
export function definitionProblems({ metadata, spec }: KubeObject): Problem[] {
  const problems: Problem[] = [];
  const required = (field: string): void =>
    void problems.push({ field, reason: 'FieldValueRequired', message: 'Required value' });
  const invalid = (field: string, value: Json, why: string): void =>
    void problems.push({
      field,
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
    });
  if (!spec?.group) required('spec.group');
  if (!spec?.names?.plural) required('spec.names.plural');
  if (!spec?.names?.kind) required('spec.names.kind');
  if (!['Namespaced', 'Cluster'].includes(spec?.scope)) required('spec.scope');
  if (!Array.isArray(spec?.versions) || spec.versions.length === 0) required('spec.versions');
  if (problems.length > 0) return problems;
  if (metadata.name !== `${spec.names.plural}.${spec.group}`)
    invalid('metadata.name', metadata.name, `must be spec.names.plural+"."+spec.group`);
  if (spec.versions.filter((one: Json) => one.storage).length !== 1)
    invalid(
      'spec.versions',
      spec.versions.map((one: Json) => one.name),
      'must have exactly one version marked as storage version',
    );
  spec.versions.forEach((one: Json, index: number) => {
    if (!one.schema?.openAPIV3Schema) required(`spec.versions[${index}].schema.openAPIV3Schema`);
  });
  if (spec.conversion && spec.conversion.strategy !== 'None')
    invalid(
      'spec.conversion.strategy',
      spec.conversion.strategy,
      'conversion webhooks are not called by the local mesh',
    );
  return problems;
}
