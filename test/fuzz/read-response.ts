/** A plain reading of the responses that the proxy wrote: what every client behind it is held to. */
import { unchunk } from './unchunk.ts';

export interface ReadResponse {
  status: number;
  body: string;
  /** What stands behind it; undefined where its body runs to the end of the connection. */
  rest: string | undefined;
}

/** The first final response in a text, to a request of this method; undefined where it is not whole. */
export function readResponse(text: string, method: string): ReadResponse | undefined {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [line, ...lines] = text.slice(0, headEnd).split('\r\n');
  const status = Number(line!.slice(9, 12));
  const behind = text.slice(headEnd + 4);
  if (status < 200) return readResponse(behind, method);
  const of = (name: string) =>
    lines
      .find((one) => one.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim();
  if (method === 'HEAD' || status === 204 || status === 304) return { status, body: '', rest: behind };
  if (of('transfer-encoding') !== undefined) {
    const chunks = unchunk(behind);
    return chunks && { status, ...chunks };
  }
  const length = of('content-length');
  if (length === undefined) return { status, body: behind, rest: undefined };
  const size = Number(length);
  return behind.length < size ? undefined : { status, body: behind.slice(0, size), rest: behind.slice(size) };
}
