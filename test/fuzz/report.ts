/**
 * What a server has understood of a request, in one line: method, target, host, length and digest of the body, and a
 * digest of the headers named X-…, so that readers in different languages can be compared.
 */
import { createHash } from 'node:crypto';
import { unchunk } from './unchunk.ts';

/** Of the parts that `report` is made of; texts are latin1. */
export interface Understood {
  method: string;
  target: string;
  host: string;
  body: Buffer;
  /** `name:value` of each header whose name begins with x-, names in lower case, sorted; undefined where unknown. */
  extra: readonly string[] | undefined;
}

const digest = (bytes: Buffer): string => createHash('sha1').update(bytes).digest('hex').slice(0, 12);

const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex') || '-';

export function report({ method, target, host, body, extra }: Understood): string {
  const told = extra ? digest(Buffer.from(extra.join('\n'), 'latin1')) : '-';
  return `${method} ${hex(pathOf(target))} ${hex(host.toLowerCase())} ${body.length} ${digest(body)} ${told}`;
}

/** A report without the headers, for servers that stand in front of another and pass on headers of their choice. */
export const withoutExtra = (line: string): string => line.replace(/ \S+$/, ' -');

/** Servers tell an absolute target whole or by its path: the same request. */
function pathOf(target: string): string {
  const absolute = /^https?:\/\/[^/?#]*(.*)$/is.exec(target);
  if (!absolute) return target;
  const path = absolute[1]!.startsWith('/') ? absolute[1]! : `/${absolute[1]}`;
  return path === '/?' ? '/' : path;
}

/**
 * Reads the bytes that the proxy sent on for one request, all of them and no more: the reading that every server is
 * held to. @throws Error where they are no whole request
 */
export function readForwarded(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) throw new Error('no end of the head');
  const [line, ...headers] = text.slice(0, headEnd).split('\r\n');
  const [method, target] = line!.split(' ');
  const fields = headers.map((one) => {
    const colon = one.indexOf(':');
    return [one.slice(0, colon).toLowerCase(), one.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')] as const;
  });
  const of = (name: string) => fields.find(([one]) => one === name)?.[1];
  const rest = text.slice(headEnd + 4);
  const chunked = of('transfer-encoding') !== undefined;
  const chunks = chunked ? unchunk(rest) : { body: rest, rest: '' };
  if (chunks?.rest !== '') throw new Error('not one chunked body');
  if (!chunked && Number(of('content-length') ?? 0) !== rest.length) throw new Error('not as many bytes as announced');
  const extra = fields.filter(([name]) => name.startsWith('x-')).map(([name, value]) => `${name}:${value}`);
  return report({
    method: method!,
    target: target!,
    host: of('host') ?? '',
    body: Buffer.from(chunks.body, 'latin1'),
    extra: extra.sort(),
  });
}
