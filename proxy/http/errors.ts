/**
 * Every error the HTTP engines make: code → status, gRPC status and a sentence. One table for both directions;
 * docs/errors-proxy.md holds an entry for each.
 */
import { type GrpcStatusName, grpcMessage, grpcStatusNames } from './grpc.ts';
import type { HeadEdit } from './head-edit.ts';

const nothing = Buffer.alloc(0);

export const httpErrors = {
  'bad-request-line': [400, 'INTERNAL', 'the request line is malformed'],
  'bad-version': [505, 'UNIMPLEMENTED', 'the HTTP version is not 1.0 or 1.1'],
  'bad-target': [400, 'INTERNAL', 'the request target is malformed'],
  'bare-lf': [400, 'INTERNAL', 'a line ends in LF without CR'],
  'bad-pseudo-header': [400, 'INTERNAL', 'the pseudo-headers of an HTTP/2 message are malformed'],
  'connection-header': [400, 'INTERNAL', 'an HTTP/2 request has a header of a connection'],
  'bad-header-name': [400, 'INTERNAL', 'a header name is malformed'],
  'bad-header-value': [400, 'INTERNAL', 'a header value holds a control character'],
  'folded-header': [400, 'INTERNAL', 'a header is folded over lines'],
  'head-too-large': [431, 'RESOURCE_EXHAUSTED', 'the head is larger than 64 KiB or has more than 256 headers'],
  'host-missing': [400, 'INTERNAL', 'a request has no Host'],
  'host-repeated': [400, 'INTERNAL', 'a request has more than one Host'],
  'bad-host': [400, 'INTERNAL', 'Host is not a host and port'],
  'host-conflict': [400, 'INTERNAL', 'Host and the absolute request target differ'],
  'length-repeated': [400, 'INTERNAL', 'a message has more than one Content-Length'],
  'bad-length': [400, 'INTERNAL', 'Content-Length is not a number'],
  'length-and-chunked': [400, 'INTERNAL', 'a message has both Content-Length and Transfer-Encoding'],
  'bad-transfer-encoding': [400, 'INTERNAL', 'chunked is not the only and last transfer coding'],
  'unknown-transfer-encoding': [501, 'UNIMPLEMENTED', 'a transfer coding is not known'],
  'transfer-encoding-in-http-1-0': [400, 'INTERNAL', 'an HTTP/1.0 message has Transfer-Encoding'],
  'bad-chunk': [400, 'INTERNAL', 'a chunk of the body is malformed'],
  'bad-trailer': [400, 'INTERNAL', 'a trailer has a name that only a head may hold'],
  'method-refused': [405, 'UNIMPLEMENTED', 'CONNECT is not allowed'],
  'bad-response': [502, 'INTERNAL', 'the server sent a malformed response'],
  'response-lost': [502, 'UNAVAILABLE', 'the connection to the server ended before its response'],
  'connect-failed': [502, 'UNAVAILABLE', 'no connection to the server'],
  'connect-timeout': [504, 'UNAVAILABLE', 'the connection to the server took too long'],
  'stream-refused': [503, 'UNAVAILABLE', 'the server refused the request unseen'],
  'queue-full': [503, 'UNAVAILABLE', 'too many requests wait for the server'],
  overloaded: [503, 'UNAVAILABLE', 'the server is overloaded'],
  'no-endpoints': [503, 'UNAVAILABLE', 'the service has no ready endpoint'],
  'identity-refused': [502, 'UNAVAILABLE', 'the server did not show the identity it should have'],
  'request-timeout': [504, 'DEADLINE_EXCEEDED', 'the request took longer than its service allows'],
  'response-timeout': [504, 'DEADLINE_EXCEEDED', 'the response took longer than the service allows'],
  'idle-timeout': [504, 'DEADLINE_EXCEEDED', 'no byte came either way for as long as the service allows'],
  'deadline-exceeded': [504, 'DEADLINE_EXCEEDED', 'the time that the client gave the request is over'],
  'head-timeout': [408, 'DEADLINE_EXCEEDED', 'the head of the request took too long'],
  internal: [500, 'INTERNAL', 'the proxy failed'],
} as const satisfies Record<string, readonly [status: number, grpc: GrpcStatusName, sentence: string]>;

export type HttpErrorCode = keyof typeof httpErrors;

const reasons: Record<number, string> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

function isHttpErrorCode(code: string): code is HttpErrorCode {
  return Object.hasOwn(httpErrors, code);
}

export interface ErrorOptions {
  /** Whether the peer may know about the mesh: `mesh-error` is sent then. */
  header: boolean;
  /** The request was HEAD: no body (RFC 9110 section 9.3.2). */
  head: boolean;
  /** What the response is to say besides. */
  edit?: HeadEdit | undefined;
}

/** For clients that would ask again at once: when they may (RFC 9110 section 10.2.3, gRPC A6), in one and in the other. */
const comeBack = { http: ['retry-after', '1'], grpc: ['grpc-retry-pushback-ms', '1000'] } as const;

/** The response for an error; it ends the connection. `detail` goes into the body. */
export function errorResponse(code: string, detail: string, options: ErrorOptions): Buffer {
  const { status, known, sentence, body } = describe(code, detail);
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status]}`,
    ...(options.header ? [`mesh-error: ${known}; ${sentence}`] : []),
    'content-type: text/plain; charset=utf-8',
    `content-length: ${body.length}`,
    'connection: close',
  ];
  const fields = [...(known === 'overloaded' ? comeBack.http : []), ...(options.edit?.fields ?? [])];
  for (let i = 0; i < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), options.head ? nothing : body]);
}

/** The same in HTTP/2; for gRPC its head is all there is. */
export function errorMessage(
  code: string,
  detail: string,
  options: ErrorOptions & { grpc: boolean },
): { fields: string[]; body: Buffer } {
  const { status, known, sentence, body } = describe(code, detail);
  const told = [
    ...(options.header ? ['mesh-error', `${known}; ${sentence}`] : []),
    ...(known === 'overloaded' ? comeBack[options.grpc ? 'grpc' : 'http'] : []),
    ...(options.edit?.fields ?? []),
  ];
  if (options.grpc) {
    const message = grpcMessage(body.toString().trimEnd());
    const number = String(grpcStatusOf(code));
    const fields = [':status', '200', 'content-type', 'application/grpc', 'grpc-status', number];
    return { fields: [...fields, 'grpc-message', message, ...told], body: nothing };
  }
  const type = ['content-type', 'text/plain; charset=utf-8', 'content-length', String(body.length)];
  return { fields: [':status', String(status), ...told, ...type], body: options.head ? nothing : body };
}

/** The status that an error is told by. */
export function statusOf(code: string): number {
  return httpErrors[isHttpErrorCode(code) ? code : 'internal'][0];
}

/** The gRPC status that it is told by. */
export function grpcStatusOf(code: string): number {
  return grpcStatusNames.indexOf(httpErrors[isHttpErrorCode(code) ? code : 'internal'][1]);
}

function describe(code: string, detail: string) {
  const known = isHttpErrorCode(code) ? code : 'internal';
  const [status, , sentence] = httpErrors[known];
  const more = detail && detail !== sentence ? ` (${detail})` : '';
  const body = Buffer.from(`${status} ${reasons[status]}: ${sentence}${more} [mesh ${known}]\n`);
  return { status, known, sentence, body };
}
