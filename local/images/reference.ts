/** Image names as Kubernetes reads them. */

export interface Reference {
  /** With the registry: `docker.io/library/nginx`. */
  repository: string;
  tag?: string;
  /** `sha256:…`; where it is there, the tag says nothing. */
  digest?: string;
}

const path = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const registry =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?$/;
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const digestForm = /^sha256:[0-9a-f]{64}$/;

/** undefined where the text is no image name. */
export function parseReference(text: string): Reference | undefined {
  const [name = '', digest, ...more] = text.split('@');
  if (more.length > 0 || (digest !== undefined && !digestForm.test(digest))) return undefined;
  const [, bare = '', tag] = /^(.*?)(?::([^:/]*))?$/s.exec(name) ?? [];
  if (tag !== undefined && !tagForm.test(tag)) return undefined;
  const [first = '', ...rest] = bare.split('/');
  const named = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const host = !named || first === 'index.docker.io' ? 'docker.io' : first;
  const remainder = named ? rest.join('/') : bare;
  if (!registry.test(host) || !path.test(remainder)) return undefined;
  const repository = `${host}/${host === 'docker.io' && !remainder.includes('/') ? 'library/' : ''}${remainder}`;
  if (digest !== undefined) return { repository, digest };
  return { repository, tag: tag ?? 'latest' };
}

/** The one full form of a name; undefined where it is none. */
export function normalizeName(text: string): string | undefined {
  const found = parseReference(text);
  return found && (found.digest ? `${found.repository}@${found.digest}` : `${found.repository}:${found.tag}`);
}

/** As people write it: without docker.io and library. */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/(?:library\/)?/, '');
}
