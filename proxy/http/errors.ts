/**
 * Every error the HTTP engine makes: code → status and a sentence. One table for both directions; docs/errors-proxy.md
 * holds an entry for each.
 */
export const httpErrors = {
  'bad-request-line': [400, 'the request line is malformed'],
  'bad-version': [505, 'the HTTP version is not 1.0 or 1.1'],
  'bad-target': [400, 'the request target is malformed'],
  'bare-lf': [400, 'a line ends in LF without CR'],
  'bad-header-name': [400, 'a header name is malformed'],
  'bad-header-value': [400, 'a header value holds a control character'],
  'folded-header': [400, 'a header is folded over lines'],
  'head-too-large': [431, 'the head is larger than 64 KiB or has more than 256 headers'],
  'host-missing': [400, 'an HTTP/1.1 request has no Host'],
  'host-repeated': [400, 'a request has more than one Host'],
  'host-conflict': [400, 'Host and the absolute request target differ'],
  'length-repeated': [400, 'a message has more than one Content-Length'],
  'bad-length': [400, 'Content-Length is not a number'],
  'length-and-chunked': [400, 'a message has both Content-Length and Transfer-Encoding'],
  'bad-transfer-encoding': [400, 'chunked is not the only and last transfer coding'],
  'unknown-transfer-encoding': [501, 'a transfer coding is not known'],
  'transfer-encoding-in-http-1-0': [400, 'an HTTP/1.0 message has Transfer-Encoding'],
  'bad-chunk': [400, 'a chunk of the body is malformed'],
  'method-refused': [405, 'CONNECT is not allowed'],
  'bad-response': [502, 'the server sent a malformed response'],
  'response-lost': [502, 'the connection to the server ended before its response'],
  'connect-failed': [502, 'no connection to the server'],
  'connect-timeout': [504, 'the connection to the server took too long'],
  'no-endpoints': [503, 'the service has no ready endpoint'],
  'identity-refused': [502, 'the server did not show the identity it should have'],
  'head-timeout': [408, 'the head of the request took too long'],
  internal: [500, 'the proxy failed'],
} as const satisfies Record<string, readonly [number, string]>;

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

/**
 * The response for an error; it ends the connection. `detail` goes into the body; `mesh-error` is sent only where
 * the peer may know about the mesh. No body for HEAD (RFC 9110 section 9.3.2).
 */
export function errorResponse(code: string, detail: string, options: { header: boolean; head: boolean }): Buffer {
  const known = isHttpErrorCode(code) ? code : 'internal';
  const [status, sentence] = httpErrors[known];
  const body = `${status} ${reasons[status]}: ${sentence}${detail && detail !== sentence ? ` (${detail})` : ''} [mesh ${known}]\n`;
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status]}`,
    ...(options.header ? [`mesh-error: ${known}; ${sentence}`] : []),
    'content-type: text/plain; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${options.head ? '' : body}`);
}
