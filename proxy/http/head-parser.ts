/**
 * Strict parser of request and response heads (RFC 9112), over bytes as they come. Anything two readers could
 * understand differently is an error. A head is read line by line, each line once, so that any split of the input
 * into chunks gives the same result.
 */
import type { HttpErrorCode } from './errors.ts';
import { COLON, CR, HTAB, hostByte, SP, spells, targetByte, tokenByte, valueByte } from './syntax.ts';

const maxHeadBytes = 64 << 10;
const maxHeaders = 256;
const slash = 0x2f;
const questionMark = 0x3f;

/** How the end of a body is told. */
export type Framing = 'none' | 'length' | 'chunked' | 'until-close';

const commonMethods = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS'];

/** Fields of the head read last; valid after `parse` returned its end, until `reset`. */
export class HeadParser {
  readonly #request: boolean;
  error: HttpErrorCode | undefined;

  /** Requests only. */
  method = '';
  targetStart = 0;
  targetEnd = 0;
  hostStart = 0;
  hostEnd = 0;
  expectContinue = false;
  /** Responses only. */
  status = 0;
  /** 0 or 1: HTTP/1.0 or HTTP/1.1. */
  minor = 1;
  /** -1 without Content-Length. */
  contentLength = -1;
  chunked = false;
  connectionClose = false;
  connectionKeepAlive = false;
  connectionUpgrade = false;
  upgrade = false;
  /** Whether a header's name begins with `mesh-`. */
  fromMesh = false;
  /** Start and end of lines that are not passed on (hop by hop), relative to the head's start; pairs in order. */
  readonly dropped: number[] = [];
  /** Lines of Connection and Upgrade, kept where the message asks for an upgrade. */
  readonly #upgradeLines: number[] = [];
  /** Headers that Connection names; made for those that name one. A Set that is cleared makes a table anew, each leading to the next. */
  #named: Set<string> | undefined;

  #line = 0;
  #lineStart = 0;
  #scanned = 0;
  #hosts = 0;
  #codings = 0;
  #absolute = false;
  #h2c = false;

  constructor(kind: 'request' | 'response') {
    this.#request = kind === 'request';
  }

  reset(): void {
    this.error = undefined;
    this.method = '';
    this.status = 0;
    this.expectContinue = false;
    this.contentLength = -1;
    this.chunked = false;
    this.connectionClose = false;
    this.connectionKeepAlive = false;
    this.connectionUpgrade = false;
    this.upgrade = false;
    this.fromMesh = false;
    // Setting an array's length to 0 is a call into V8.
    while (this.dropped.length > 0) this.dropped.pop();
    while (this.#upgradeLines.length > 0) this.#upgradeLines.pop();
    this.#named = undefined;
    this.#line = 0;
    this.#lineStart = 0;
    this.#scanned = 0;
    this.#hosts = 0;
    this.#codings = 0;
    this.#absolute = false;
    this.#h2c = false;
  }

  /**
   * Reads the head that starts at `start`. Returns the offset after it; 0 where more bytes are needed (call again
   * with the same bytes and more behind them); -1 on `error`.
   */
  parse(buffer: Buffer, start: number): number {
    for (;;) {
      const end = buffer.indexOf(10, start + this.#scanned);
      if (end < 0) {
        this.#scanned = buffer.length - start;
        return this.#scanned > maxHeadBytes ? this.#fail('head-too-large') : 0;
      }
      if (end + 1 - start > maxHeadBytes) return this.#fail('head-too-large');
      const lineStart = start + this.#lineStart;
      if (end === lineStart || buffer[end - 1] !== CR) return this.#fail('bare-lf');
      this.#scanned = end + 1 - start;
      this.#lineStart = this.#scanned;
      const lineEnd = end - 1;
      if (lineEnd === lineStart) {
        // One empty line ahead of a request is ignored (RFC 9112 section 2.2).
        if (this.#line === 0 && this.#request && lineStart === start) {
          this.dropped.push(0, 2);
          continue;
        }
        if (this.#line === 0) return this.#fail(this.#request ? 'bad-request-line' : 'bad-response');
        return this.#complete(buffer, start) ? end + 1 : -1;
      }
      const good =
        this.#line === 0
          ? this.#request
            ? this.#requestLine(buffer, lineStart, lineEnd, start)
            : this.#statusLine(buffer, lineStart, lineEnd)
          : this.#header(buffer, lineStart, lineEnd, start);
      if (!good) return -1;
      this.#line++;
    }
  }

  #fail(code: HttpErrorCode): -1 {
    this.error = code;
    return -1;
  }

  #requestLine(buffer: Buffer, start: number, end: number, base: number): boolean {
    let i = start;
    while (i < end && tokenByte[buffer[i]!]) i++;
    if (i === start || i === end || buffer[i] !== SP) return this.#fail('bad-request-line') > 0;
    this.method = methodName(buffer, start, i);
    const target = ++i;
    while (i < end && targetByte[buffer[i]!]) i++;
    if (i === target || i === end || buffer[i] !== SP) return this.#fail('bad-request-line') > 0;
    this.targetStart = target - base;
    this.targetEnd = i - base;
    if (!this.#version(buffer, i + 1, end)) return false;
    if (this.method === 'CONNECT') return this.#fail('method-refused') > 0;
    const first = buffer[target];
    if (first === slash) return true;
    if (first === 0x2a && i === target + 1) return this.method === 'OPTIONS' || this.#fail('bad-target') > 0;
    const scheme = spells(buffer, target, 'http://') ? 7 : spells(buffer, target, 'https://') ? 8 : 0;
    // No host is no http URI (RFC 9110 section 4.2.1).
    const next = buffer[target + scheme];
    this.#absolute = scheme > 0 && next !== slash && next !== questionMark && next !== SP;
    return this.#absolute || this.#fail('bad-target') > 0;
  }

  #version(buffer: Buffer, start: number, end: number): boolean {
    // "HTTP/1.x": upper case only (RFC 9112 section 2.3).
    const named = end - start === 8 && buffer.toString('latin1', start, start + 5) === 'HTTP/';
    if (!named) return this.#fail(this.#request ? 'bad-request-line' : 'bad-response') > 0;
    const minor = buffer[end - 1]! - 48;
    if (buffer[start + 5] !== 49 || buffer[start + 6] !== 46 || (minor !== 0 && minor !== 1)) {
      return this.#fail(this.#request ? 'bad-version' : 'bad-response') > 0;
    }
    this.minor = minor;
    return true;
  }

  #statusLine(buffer: Buffer, start: number, end: number): boolean {
    if (end - start < 12 || buffer[start + 8] !== SP) return this.#fail('bad-response') > 0;
    if (!this.#version(buffer, start, start + 8)) return false;
    let status = 0;
    for (let i = start + 9; i < start + 12; i++) {
      const digit = buffer[i]! - 48;
      if (digit < 0 || digit > 9) return this.#fail('bad-response') > 0;
      status = status * 10 + digit;
    }
    if (status < 100 || (end - start > 12 && buffer[start + 12] !== SP)) return this.#fail('bad-response') > 0;
    for (let i = start + 12; i < end; i++) if (!valueByte[buffer[i]!]) return this.#fail('bad-response') > 0;
    this.status = status;
    return true;
  }

  #header(buffer: Buffer, start: number, end: number, base: number): boolean {
    if (this.#line > maxHeaders) return this.#fail('head-too-large') > 0;
    const first = buffer[start]!;
    if (first === SP || first === HTAB) return this.#fail('folded-header') > 0;
    let colon = start;
    while (colon < end && tokenByte[buffer[colon]!]) colon++;
    if (colon === start || colon === end || buffer[colon] !== COLON) return this.#fail('bad-header-name') > 0;
    for (let i = colon + 1; i < end; i++) if (!valueByte[buffer[i]!]) return this.#fail('bad-header-value') > 0;
    if ((first | 0x20) === 0x6d && colon - start > 5 && spells(buffer, start, 'mesh-')) this.fromMesh = true;
    switch (colon - start) {
      case 2:
        if (
          this.#request &&
          spells(buffer, start, 'te') &&
          headerValue(buffer, colon, end).toLowerCase() !== 'trailers'
        ) {
          this.#drop(start, end, base);
        }
        break;
      case 4:
        if (this.#request && spells(buffer, start, 'host')) return this.#host(buffer, colon, end, base);
        break;
      case 6:
        if (this.#request && spells(buffer, start, 'expect')) {
          this.expectContinue = headerValue(buffer, colon, end).toLowerCase() === '100-continue';
        }
        break;
      case 7:
        if (spells(buffer, start, 'upgrade')) {
          this.upgrade = true;
          // HTTP/2 that began as HTTP/1 would pass unread; it is offered by habit, and no longer a part of HTTP/2
          // (RFC 9113 section 3.1).
          if (/(^|,)\s*h2c\s*(,|$)/i.test(headerValue(buffer, colon, end))) this.#h2c = true;
          this.#upgradeLines.push(start - base, end + 2 - base);
        }
        break;
      case 10:
        if (spells(buffer, start, 'connection')) this.#connection(buffer, start, colon, end, base);
        else if (spells(buffer, start, 'keep-alive')) this.#drop(start, end, base);
        break;
      case 14:
        if (spells(buffer, start, 'content-length')) return this.#length(buffer, colon, end);
        break;
      case 16:
        if (spells(buffer, start, 'proxy-connection')) this.#drop(start, end, base);
        break;
      case 17:
        if (spells(buffer, start, 'transfer-encoding')) return this.#coding(buffer, colon, end);
        break;
      default:
    }
    return true;
  }

  #drop(start: number, end: number, base: number): void {
    this.dropped.push(start - base, end + 2 - base);
  }

  #host(buffer: Buffer, colon: number, end: number, base: number): boolean {
    if (++this.#hosts > 1) return this.#fail('host-repeated') > 0;
    let from = colon + 1;
    let to = end;
    while (from < to && (buffer[from] === SP || buffer[from] === HTAB)) from++;
    while (to > from && (buffer[to - 1] === SP || buffer[to - 1] === HTAB)) to--;
    // RFC 9112 section 3.2 has an invalid value refused.
    for (let i = from; i < to; i++) if (!hostByte[buffer[i]!]) return this.#fail('bad-host') > 0;
    this.hostStart = from - base;
    this.hostEnd = to - base;
    return true;
  }

  #connection(buffer: Buffer, start: number, colon: number, end: number, base: number): void {
    const text = headerValue(buffer, colon, end).toLowerCase();
    if (text === 'close') this.connectionClose = true;
    else if (text === 'keep-alive') this.connectionKeepAlive = true;
    else {
      for (const part of text.split(',')) {
        const name = part.trim();
        if (name === 'close') this.connectionClose = true;
        else if (name === 'keep-alive') this.connectionKeepAlive = true;
        else if (name === 'upgrade') this.connectionUpgrade = true;
        else if (name !== '' && name !== 'te') {
          this.#named ??= new Set();
          this.#named.add(name);
        }
      }
    }
    this.#upgradeLines.push(start - base, end + 2 - base);
  }

  #length(buffer: Buffer, colon: number, end: number): boolean {
    if (this.contentLength >= 0) return this.#fail('length-repeated') > 0;
    const text = headerValue(buffer, colon, end);
    if (text.length === 0 || text.length > 15) return this.#fail('bad-length') > 0;
    for (let i = 0; i < text.length; i++) {
      const digit = text.charCodeAt(i);
      if (digit < 48 || digit > 57) return this.#fail('bad-length') > 0;
    }
    this.contentLength = Number(text);
    return true;
  }

  #coding(buffer: Buffer, colon: number, end: number): boolean {
    const text = headerValue(buffer, colon, end).toLowerCase();
    if (++this.#codings > 1) return this.#fail('bad-transfer-encoding') > 0;
    if (text === 'chunked') {
      this.chunked = true;
      return true;
    }
    return (
      this.#fail(
        /(^|[\s,])chunked([\s,;]|$)/.test(text) || text === '' ? 'bad-transfer-encoding' : 'unknown-transfer-encoding',
      ) > 0
    );
  }

  /** Rules that need the whole head. */
  #complete(buffer: Buffer, base: number): boolean {
    if (this.chunked && this.minor === 0) return this.#fail('transfer-encoding-in-http-1-0') > 0;
    if (this.chunked && this.contentLength >= 0) return this.#fail('length-and-chunked') > 0;
    // Where an HTTP/1.0 target is absolute some servers take its host, some none.
    if (this.#request && this.#hosts === 0 && (this.minor === 1 || this.#absolute))
      return this.#fail('host-missing') > 0;
    if (this.#absolute && this.#hosts === 1) {
      const target = buffer.toString('latin1', base + this.targetStart, base + this.targetEnd);
      const authority = target.slice(target.indexOf('//') + 2).split(/[/?#]/, 1)[0]!;
      const host = buffer.toString('latin1', base + this.hostStart, base + this.hostEnd);
      if (authority.toLowerCase() !== host.toLowerCase()) return this.#fail('host-conflict') > 0;
    }
    // A server that only says what else it speaks says so to the next hop; with 426 it is the answer.
    const meant = this.#request ? this.connectionUpgrade : this.status === 101 || this.status === 426;
    this.upgrade = this.upgrade && meant && !this.#h2c && this.minor === 1;
    if (!this.upgrade) this.dropped.push(...this.#upgradeLines);
    if (this.#named) this.#dropNamed(buffer, base, this.#named);
    if (this.dropped.length > 2) sortPairs(this.dropped);
    return true;
  }

  /** Headers that Connection names go no further (RFC 9110 section 7.6.1), save those that frame the message. */
  #dropNamed(buffer: Buffer, base: number, named: ReadonlySet<string>): void {
    let start = base;
    for (let line = 0; ; ) {
      const end = buffer.indexOf(10, start);
      if (end - start <= 1 && line > 0) break;
      if (line > 0) {
        const name = buffer.toString('latin1', start, buffer.indexOf(COLON, start)).toLowerCase();
        const framing = name === 'host' || name === 'content-length' || name === 'transfer-encoding';
        if (named.has(name) && !framing) this.#drop(start, end - 1, base);
      }
      if (end - start > 1) line++;
      start = end + 1;
    }
  }
}

function methodName(buffer: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length === 3 && buffer[start] === 71 && buffer[start + 1] === 69 && buffer[start + 2] === 84) return 'GET';
  const name = buffer.toString('latin1', start, end);
  return commonMethods.find((method) => method === name) ?? name;
}

/** What stands between the colon and the end of a header line, without the space around it. */
export function headerValue(buffer: Buffer, colon: number, end: number): string {
  let from = colon + 1;
  let to = end;
  while (from < to && (buffer[from] === SP || buffer[from] === HTAB)) from++;
  while (to > from && (buffer[to - 1] === SP || buffer[to - 1] === HTAB)) to--;
  return buffer.toString('latin1', from, to);
}

/** Sorts pairs of start and end by start and removes repeated ones. */
export function sortPairs(pairs: number[]): void {
  const ordered = new Map<number, number>();
  for (let i = 0; i < pairs.length; i += 2) ordered.set(pairs[i]!, pairs[i + 1]!);
  const starts = [...ordered.keys()].sort((a, b) => a - b);
  pairs.length = 0;
  for (const start of starts) pairs.push(start, ordered.get(start)!);
}
