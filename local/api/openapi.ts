/** OpenAPI v3, as far as kubectl asks for it: which types there are, that fields are validated, what a custom type has. */
import type { Objects } from '../objects.ts';
import { grouped, type ServedType, servedTypes } from './types.ts';

/** The definition's own schema, with what every object has. */
function schemaOf(type: ServedType): object {
  const schema = type.custom?.version.schema?.openAPIV3Schema;
  if (!schema) return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const text = (description: string): object => ({ type: 'string', description });
  return {
    ...schema,
    properties: {
      apiVersion: text('Version of the schema that this object has.'),
      kind: text('Kind of this object.'),
      metadata: { type: 'object', description: "Standard object's metadata." },
      ...schema.properties,
    },
  };
}

/** OpenAPI v3, as far as kubectl asks: which types there are, and that fieldValidation is understood. */
export function openApi(objects: Objects, path: string): object | undefined {
  const groups = grouped(servedTypes(objects));
  const base = (group: string, version: string) => (group === '' ? `api/${version}` : `apis/${group}/${version}`);
  if (path === '/openapi/v3') {
    const paths: Record<string, object> = {};
    for (const [group, versions] of groups)
      for (const version of versions.keys())
        paths[base(group, version)] = { serverRelativeURL: `/openapi/v3/${base(group, version)}` };
    return { paths };
  }
  const wanted = path.slice('/openapi/v3/'.length);
  for (const [group, versions] of groups) {
    for (const [version, types] of versions) {
      if (base(group, version) !== wanted) continue;
      const parameters = ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map((name) => ({
        name,
        in: 'query',
        schema: { type: 'string' },
      }));
      const paths: Record<string, object> = {};
      const schemas: Record<string, object> = {};
      for (const type of types) {
        const gvk = { group, version, kind: type.kind };
        const operation = {
          parameters,
          'x-kubernetes-group-version-kind': gvk,
          responses: { 200: { description: 'OK' } },
        };
        const collection = `/${base(group, version)}/${type.namespaced ? 'namespaces/{namespace}/' : ''}${type.plural}`;
        paths[collection] = { post: { ...operation, 'x-kubernetes-action': 'post' } };
        paths[`${collection}/{name}`] = {
          patch: { ...operation, 'x-kubernetes-action': 'patch' },
          put: { ...operation, 'x-kubernetes-action': 'put' },
        };
        schemas[`mesh.${group || 'core'}.${version}.${type.kind}`] = {
          ...schemaOf(type),
          'x-kubernetes-group-version-kind': [gvk],
        };
      }
      return { openapi: '3.0.0', info: { title: 'mesh local', version: 'v1' }, paths, components: { schemas } };
    }
  }
  return undefined;
}
