/** The failures that one HTTP exchange can end with. */
import { ProxyError, type Retry } from '../error.ts';
import { errorCode } from '../http2/frames.ts';
import type { StreamReset } from '../http2/session-stream.ts';
import type { HttpErrorCode } from './errors.ts';

export const clientGone = (message: string): ProxyError => new ProxyError('client-gone', message, { source: 'client' });

export const badBody = (code: HttpErrorCode): ProxyError =>
  new ProxyError(code, 'the body of the request is malformed', { source: 'client' });

export const badResponse = (message: string): ProxyError =>
  new ProxyError('bad-response', message, { source: 'server' });

/** `again`: whether a request that may be sent twice may be sent elsewhere. */
export function responseLost(begun: boolean, again: boolean, cause: Error | undefined): ProxyError {
  const message = begun ? 'the server closed inside its response' : 'the server closed before its response';
  return new ProxyError('response-lost', message, { source: 'server', retry: again ? 'idempotent' : 'no', cause });
}

/** What a client's proxy hears by a reset of a request that is not answered. `usual`: where nothing special is to be told. */
export function resetFor({ code, retry }: ProxyError, usual: number): number {
  if (code === 'overloaded') return errorCode.overloaded;
  return retry === 'yes' ? errorCode.refusedStream : usual;
}

/** The server's proxy has turned the request away. */
export function overloaded(cause: Error | undefined, retry: Retry = 'once'): ProxyError {
  return new ProxyError('overloaded', 'the server has not seen the request', { source: 'server', retry, cause });
}

/** A server has reset its stream. `meshed`: it stands behind a proxy, which says by two codes what it knows of it. */
export function streamReset(cause: StreamReset, begun: boolean, meshed: boolean): ProxyError {
  const source = 'server';
  if (!begun && cause.code === errorCode.refusedStream) {
    const code = meshed ? 'connect-failed' : 'stream-refused';
    return new ProxyError(code, 'the server refused the request unseen', { source, retry: 'yes', cause });
  }
  if (!begun && meshed && cause.code === errorCode.overloaded) return overloaded(cause);
  if (!begun && meshed && cause.code === errorCode.connectError) return responseLost(false, true, cause);
  return new ProxyError('stream-reset', `the server reset the stream (code ${cause.code})`, { source, cause });
}
