/** Answers a request in HTTP/2 with an error of the proxy's, and takes no more of it. */
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import type { MessageStream } from '../http2/message-stream.ts';
import { type ErrorOptions, errorMessage } from './errors.ts';

export function refuse(
  client: MessageStream,
  code: string,
  detail: string,
  options: ErrorOptions & { grpc: boolean },
): void {
  const { fields, body } = errorMessage(code, detail, options);
  client.sendHeaders(encodeHeaders(fields), body.length === 0);
  if (body.length > 0) client.sendData(body, true);
  client.refuseRest();
}
