/** A plain reading of the responses that the proxy wrote: what every client behind it is held to. */

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
  if (of('transfer-encoding') !== undefined) return unchunk(behind, status);
  const length = of('content-length');
  if (length === undefined) return { status, body: behind, rest: undefined };
  const size = Number(length);
  return behind.length < size ? undefined : { status, body: behind.slice(0, size), rest: behind.slice(size) };
}

function unchunk(text: string, status: number): ReadResponse | undefined {
  let body = '';
  let rest = text;
  for (;;) {
    const size = /^([0-9a-f]+)[^\r\n]*\r\n/i.exec(rest);
    if (!size) return undefined;
    const length = Number.parseInt(size[1]!, 16);
    rest = rest.slice(size[0].length);
    if (length === 0) break;
    if (rest.slice(length, length + 2) !== '\r\n') return undefined;
    body += rest.slice(0, length);
    rest = rest.slice(length + 2);
  }
  const end = /^([^\r\n:]+:[^\r\n]*\r\n)*\r\n/.exec(rest);
  return end ? { status, body, rest: rest.slice(end[0].length) } : undefined;
}
