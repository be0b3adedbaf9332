/** Errors of the data path: who caused it, whether a retry is safe, and a stable code that docs/errors-proxy.md explains. */

export type ErrorSource = 'client' | 'server' | 'proxy' | 'control';

/**
 * Whether the request may be sent again: `yes` where the application cannot have seen it (connect refused, stream
 * refused), `idempotent` where no response byte came and doing it twice is doing it once (RFC 9110 section 9.2.2),
 * `once` where the application has not seen it and is not to be asked often: as `yes`, but for the first try only; `no`
 * otherwise.
 */
export type Retry = 'yes' | 'once' | 'idempotent' | 'no';

export class ProxyError extends Error {
  readonly code: string;
  readonly source: ErrorSource;
  readonly retry: Retry;

  constructor(code: string, message: string, options: { source: ErrorSource; retry?: Retry; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ProxyError';
    this.code = code;
    this.source = options.source;
    this.retry = options.retry ?? 'no';
  }
}
