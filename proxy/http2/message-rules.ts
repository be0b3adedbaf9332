/**
 * What RFC 9113 section 8 says of requests and responses: pseudo-header fields, names, values, lengths. Strict: a
 * message that two readers could understand differently goes nowhere.
 */
import type { HeaderList } from './header-list.ts';

export interface RequestHead {
  method: string;
  /** As the client asked for it; empty with CONNECT alone. */
  path: string;
  /** -1 where it does not say. */
  contentLength: number;
  grpc: boolean;
}

export interface ResponseHead {
  status: number;
  contentLength: number;
  /** As it goes on: without fields of a connection. */
  list: HeaderList;
}

/** A code of docs/errors-proxy.md. */
export type Malformed =
  | 'bad-header-name'
  | 'bad-header-value'
  | 'bad-pseudo-header'
  | 'connection-header'
  | 'bad-length';
export type RequestRefusal =
  | Malformed
  | 'length-repeated'
  | 'bad-target'
  | 'host-missing'
  | 'host-repeated'
  | 'host-conflict'
  | 'head-too-large'
  | 'method-refused';

const maxFields = 256;
const name = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const method = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const authority = /^[^\0- \x7f,/@#?\\]+$/;
const path = /^(?:\/[!-~\x80-\xff]*|\*)$/;
const spaceAround = /^[ \t]|[ \t]$/;
const length = /^\d{1,15}$/;
const connectionNames = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);
const requestPseudo = new Set([':method', ':scheme', ':authority', ':path', ':protocol']);
const responsePseudo = new Set([':status']);
const nonePseudo: ReadonlySet<string> = new Set();

/** The head of a request, or why it is refused. Worked out once per list. */
export function readRequest(list: HeaderList): RequestHead | RequestRefusal {
  list.asRequest ??= checkRequest(list);
  return list.asRequest as RequestHead | RequestRefusal;
}

/** The head of a response, interim ones too, or what is wrong with it. Worked out once per list. */
export function readResponse(list: HeaderList): ResponseHead | Malformed {
  list.asResponse ??= checkResponse(list);
  return list.asResponse as ResponseHead | Malformed;
}

/** A trailer as it goes on, or what is wrong with it. Worked out once per list. */
export function readTrailer(list: HeaderList): HeaderList | Malformed {
  list.asTrailer ??= checkFields(list, nonePseudo) ?? list.without(connectionNames);
  return list.asTrailer as HeaderList | Malformed;
}

function checkRequest(list: HeaderList): RequestHead | RequestRefusal {
  const { fields } = list;
  if (fields.length > maxFields * 2) return 'head-too-large';
  const fault = checkFields(list, requestPseudo);
  if (fault) return fault;
  const asked = list.value(':method');
  if (asked === undefined || !method.test(asked)) return 'bad-pseudo-header';
  // Extended CONNECT (RFC 8441) is not offered.
  if (asked === 'CONNECT' || list.value(':protocol') !== undefined) return 'method-refused';
  const target = list.value(':path');
  if (target === undefined || list.value(':scheme') === undefined) return 'bad-pseudo-header';
  if (!path.test(target) || (target === '*' && asked !== 'OPTIONS')) return 'bad-target';
  const host = checkHost(list);
  if (host) return host;
  for (let i = 0; i < fields.length; i += 2) {
    if (connectionNames.has(fields[i]!)) return 'connection-header';
    if (fields[i] === 'te' && fields[i + 1] !== 'trailers') return 'connection-header';
    // Section 8.2.1; responses may have it, since a gRPC message may end in a space.
    if (spaceAround.test(fields[i + 1]!)) return 'bad-header-value';
  }
  const contentLength = readLength(list);
  if (typeof contentLength === 'string') return contentLength;
  return { method: asked, path: target, contentLength, grpc: isGrpc(list) };
}

function checkHost(list: HeaderList): RequestRefusal | undefined {
  const { fields } = list;
  const asked = list.value(':authority');
  let host: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'host') continue;
    if (host !== undefined) return 'host-repeated';
    host = fields[i + 1]!;
  }
  if (asked === undefined && host === undefined) return 'host-missing';
  if (asked !== undefined && host !== undefined && asked !== host) return 'host-conflict';
  return authority.test(asked ?? host!) ? undefined : 'bad-header-value';
}

function checkResponse(list: HeaderList): ResponseHead | Malformed {
  const fault = checkFields(list, responsePseudo);
  if (fault) return fault;
  const status = list.value(':status') ?? '';
  // 101 has no meaning in HTTP/2 (section 8.6).
  if (!/^[1-5]\d\d$/.test(status) || status === '101') return 'bad-pseudo-header';
  const contentLength = readLength(list);
  if (typeof contentLength === 'string') return 'bad-length';
  return { status: Number(status), contentLength, list: list.without(connectionNames) };
}

/** Sections 8.2.1 and 8.3: names, values, and pseudo-header fields ahead of all others, each once. */
function checkFields({ fields }: HeaderList, pseudo: ReadonlySet<string>): Malformed | undefined {
  let regular = false;
  for (let i = 0; i < fields.length; i += 2) {
    const field = fields[i]!;
    if (field.startsWith(':')) {
      if (regular || !pseudo.has(field) || fields.indexOf(field) !== i) return 'bad-pseudo-header';
    } else {
      regular = true;
      if (!name.test(field)) return 'bad-header-name';
    }
    if (hasControl(fields[i + 1]!)) return 'bad-header-value';
  }
  return undefined;
}

/** Control characters but the tab. */
function hasControl(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true;
  }
  return false;
}

function readLength({ fields }: HeaderList): number | 'bad-length' | 'length-repeated' {
  let value = -1;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'content-length') continue;
    if (value >= 0) return 'length-repeated';
    if (!length.test(fields[i + 1]!)) return 'bad-length';
    value = Number(fields[i + 1]);
  }
  return value;
}

/** By its content type, as the gRPC protocol says. */
function isGrpc(list: HeaderList): boolean {
  const type = list.value('content-type');
  return type !== undefined && /^application\/grpc(?:$|[+;])/.test(type);
}
