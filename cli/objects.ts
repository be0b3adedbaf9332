/** What commands that change objects share: their names, and whether anything changed. */
import { isDeepStrictEqual } from 'node:util';
import type { KubeClient } from '../kube/client.ts';
import type { KubeObject, ResourceType } from '../kube/types.ts';
import { CliError } from './errors.ts';
import { nearest } from './nearest.ts';

/** `deployment.apps/web`, as kubectl names it. */
export function objectTitle({ apiVersion, kind, metadata }: KubeObject): string {
  const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]!.split('.')[0]}` : '';
  return `${kind.toLowerCase()}${group}/${metadata.name}`;
}

/** Whether two versions of an object ask for the same: all but what the cluster itself writes. */
function sameContent(one: KubeObject, other: KubeObject): boolean {
  const content = ({ status: _, metadata, ...rest }: KubeObject): object => {
    const { resourceVersion: _version, managedFields: _fields, ...kept } = metadata;
    // Through JSON: a value that is not set is no difference.
    return JSON.parse(JSON.stringify({ ...rest, metadata: kept }));
  };
  return isDeepStrictEqual(content(one), content(other));
}

export type Verb = 'created' | 'configured' | 'unchanged';

export interface ApplyOptions {
  fieldManager: string;
  dryRun: boolean;
}

/** Server-side apply of one object, and what came of it. */
export async function applyObject(
  kube: KubeClient,
  type: ResourceType,
  object: KubeObject,
  { fieldManager, dryRun }: ApplyOptions,
): Promise<Verb> {
  const namespace = type.namespaced ? (object.metadata.namespace ?? kube.namespace) : undefined;
  const wanted = namespace === undefined ? object : { ...object, metadata: { ...object.metadata, namespace } };
  const before = await kube.find(type, object.metadata.name!, namespace);
  const after = await kube.apply(wanted, { fieldManager, force: true, ...(dryRun ? { dryRun } : {}) });
  if (before === undefined) return 'created';
  return sameContent(before, after) ? 'unchanged' : 'configured';
}

/** @throws CliError `not-found`, with the nearest name there is */
export async function mustExist(
  kube: KubeClient,
  type: ResourceType,
  name: string,
  namespace?: string,
): Promise<KubeObject> {
  const scope = type.namespaced ? namespace : undefined;
  const found = await kube.find(type, name, scope);
  if (found) return found;
  const all = await kube.list(type, scope === undefined ? {} : { namespace: scope });
  const close = nearest(
    name,
    all.map((one) => one.metadata.name!),
  );
  const where = scope === undefined ? '' : ` in namespace ${scope}`;
  throw new CliError({
    code: 'not-found',
    message: `There is no ${type.kind.toLowerCase()} ${name}${where}${close === undefined ? '' : ` (did you mean ${close}?)`}`,
  });
}
