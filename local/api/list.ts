/** What a list is made of: selection, order, pages. */
import type { KubeObject } from '../../kube/types.ts';
import type { Registry } from './registry.ts';
import type { ApiRequest } from './request.ts';
import { type Filter, fieldFilter, labelFilter } from './selectors.ts';
import { badRequest } from './status-error.ts';

export function filterOf(query: URLSearchParams): Filter {
  const labels = labelFilter(query.get('labelSelector') ?? '');
  const fields = fieldFilter(query.get('fieldSelector') ?? '');
  return (object) => labels(object) && fields(object);
}

export function listFor(registry: Registry, request: ApiRequest): KubeObject[] {
  const filter = filterOf(request.query);
  const names = request.name ? (object: KubeObject) => object.metadata.name === request.name : () => true;
  return registry
    .list(request.type, request.namespace ? { namespace: request.namespace } : {})
    .filter((object) => names(object) && filter(object))
    .sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
}

/** Where an object stands in its list: Kubernetes sorts by the keys of etcd. */
const placeOf = (object: KubeObject): string => `${object.metadata.namespace ?? ''}/${object.metadata.name}`;

/**
 * The part of a list that `limit` and `continue` ask for, and the list's metadata. Later parts are of the present,
 * under the version of the first: a watch from there tells again what changed meanwhile, which is no harm.
 * @throws StatusError 400 for a token that is not ours
 */
export function pageOf(
  items: KubeObject[],
  query: URLSearchParams,
  version: string,
): { items: KubeObject[]; metadata: Record<string, unknown> } {
  const given = query.get('continue');
  const token = given ? readToken(given) : undefined;
  const resourceVersion = token?.version ?? version;
  const rest = token ? items.filter((object) => placeOf(object) > token.after) : items;
  const limit = Number(query.get('limit') ?? 0);
  if (!(limit > 0) || rest.length <= limit) return { items: rest, metadata: { resourceVersion } };
  const page = rest.slice(0, limit);
  const next = Buffer.from(JSON.stringify({ version: resourceVersion, after: placeOf(page.at(-1)!) }));
  return {
    items: page,
    metadata: { resourceVersion, continue: next.toString('base64url'), remainingItemCount: rest.length - limit },
  };
}

function readToken(text: string): { version: string; after: string } {
  try {
    const token = JSON.parse(Buffer.from(text, 'base64url').toString()) as { version: string; after: string };
    if (typeof token.version === 'string' && typeof token.after === 'string') return token;
  } catch {
    // falls through to the refusal
  }
  throw badRequest('continue key is not valid');
}
