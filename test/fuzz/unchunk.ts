/** A plain reading of the chunked coding, apart from the engine's. */

/** What a text that begins with chunks holds, and what stands behind their end; undefined where that has not come. */
export function unchunk(text: string): { body: string; rest: string } | undefined {
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
  const trailers = /^([^\r\n:]+:[^\r\n]*\r\n)*\r\n/.exec(rest);
  return trailers ? { body, rest: rest.slice(trailers[0].length) } : undefined;
}
