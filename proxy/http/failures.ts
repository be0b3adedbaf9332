/** The failures that one HTTP exchange can end with. */
import { ProxyError } from '../error.ts';

export const clientGone = (message: string): ProxyError => new ProxyError('client-gone', message, { source: 'client' });

export const badChunk = (): ProxyError =>
  new ProxyError('bad-chunk', 'a chunk of the request is malformed', { source: 'client' });

export const badResponse = (message: string): ProxyError =>
  new ProxyError('bad-response', message, { source: 'server' });

/** `again`: whether a request that may be sent twice may be sent elsewhere. */
export function responseLost(begun: boolean, again: boolean, cause: Error | undefined): ProxyError {
  const message = begun ? 'the server closed inside its response' : 'the server closed before its response';
  return new ProxyError('response-lost', message, { source: 'server', retry: again ? 'idempotent' : 'no', cause });
}
