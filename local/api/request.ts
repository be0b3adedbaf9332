/** One API call, taken apart: what it is about and what it asks for. */
import type { IncomingMessage } from 'node:http';
import type { User } from './access.ts';
import { decodeProtobuf } from './protobuf.ts';
import { badRequest, StatusError } from './status-error.ts';
import type { ServedType } from './types.ts';

export interface ApiRequest {
  method: string;
  type: ServedType;
  /** Empty where the call is not about one namespace. */
  namespace: string;
  /** Empty for a collection. */
  name: string;
  subresource: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  user: User;
  /** Aborted when the client goes. */
  signal: AbortSignal;
}

const maxBodyBytes = 4 << 20;

/** Group, version, namespace, plural, name and subresource of a resource path; undefined for other paths. */
export function parsePath(
  path: string,
):
  | { group: string; version: string; namespace: string; plural: string; name: string; subresource: string }
  | undefined {
  const parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  let group = '';
  let rest: string[];
  if (parts[0] === 'api') rest = parts.slice(1);
  else if (parts[0] === 'apis') {
    group = parts[1] ?? '';
    rest = parts.slice(2);
  } else return undefined;
  const version = rest.shift();
  if (!version || rest.length === 0) return undefined;
  let namespace = '';
  if (rest[0] === 'namespaces' && rest.length > 2 && rest[2] !== 'status' && rest[2] !== 'finalize') {
    namespace = rest[1]!;
    rest = rest.slice(2);
  }
  return { group, version, namespace, plural: rest[0]!, name: rest[1] ?? '', subresource: rest.slice(2).join('/') };
}

/** RBAC's verb for a call. */
export function verbOf(method: string, name: string, query: URLSearchParams): string {
  if (method === 'GET')
    return name ? 'get' : query.get('watch') === 'true' || query.get('watch') === '1' ? 'watch' : 'list';
  if (method === 'POST') return 'create';
  if (method === 'PUT') return 'update';
  if (method === 'PATCH') return 'patch';
  return name ? 'delete' : 'deletecollection';
}

/** The one object a call is about: also that of a list or watch whose field selector names it, so that RBAC may allow it by name. */
export function nameOf(name: string, query: URLSearchParams): string {
  if (name) return name;
  const selectors = query.get('fieldSelector')?.split(',') ?? [];
  return selectors.flatMap((one) => /^metadata\.name==?([^=]+)$/.exec(one)?.[1] ?? [])[0] ?? '';
}

export function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBodyBytes) {
        reject(new StatusError(413, 'RequestEntityTooLarge', `the body is larger than ${maxBodyBytes} bytes`));
        request.destroy();
      } else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('error', reject);
  });
}

/** JSON, or what the content type says: YAML (server-side apply), protobuf. */
export async function parseBody(body: Buffer, contentType: string): Promise<unknown> {
  if (contentType.includes('protobuf')) return decodeProtobuf(body);
  const text = body.toString();
  try {
    if (contentType.includes('yaml')) return (await import('yaml')).parse(text);
    return text === '' ? undefined : JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body cannot be read: ${(error as Error).message}`);
  }
}
