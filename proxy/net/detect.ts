/** Tells HTTP/1 and HTTP/2 from other traffic by the client's first bytes, as soon as they are enough. */
import type { Duplex } from 'node:stream';
import { tokenByte } from '../http/syntax.ts';
import { owned } from './shared-reads.ts';

export type Detected = 'http1' | 'http2' | 'opaque';

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** The longest method of the IANA registry is BASELINE-CONTROL / UPDATEREDIRECTREF, 17 letters. */
const maxMethod = 20;
/** Of a first line that is no proper request line. */
const maxLine = 1024;

/** What a client that writes its request line slowly has sent first. */
const begunRequest = /^(\r\n)?[A-Z]+ (\/|\*|https?:\/\/)/;

/** `more` where the bytes so far fit several protocols. */
export function detectProtocol(bytes: Buffer): Detected | 'more' {
  const compared = Math.min(bytes.length, preface.length);
  if (preface.compare(bytes, 0, compared, 0, compared) === 0) return compared === preface.length ? 'http2' : 'more';
  let i = 0;
  if (bytes[0] === 13 && (bytes.length === 1 || bytes[1] === 10)) i = Math.min(2, bytes.length); // one empty line may come first
  const start = i;
  while (i < bytes.length && tokenByte[bytes[i]!] && i - start <= maxMethod) {
    // Methods are upper case by custom of all in use; lower case first bytes are some other line protocol.
    const byte = bytes[i]!;
    if (!((byte >= 65 && byte <= 90) || byte === 45 || byte === 95)) return 'opaque';
    i++;
  }
  if (i === bytes.length) return i - start <= maxMethod ? 'more' : 'opaque';
  if ((bytes[i] !== 32 && bytes[i] !== 9) || i === start) return 'opaque';
  // A request target begins with a slash, is an asterisk, or is absolute; anything else is HTTP only where the line
  // ends in a version, for the parser to refuse: carried unparsed it would reach the application.
  const rest = bytes.subarray(i + 1);
  if (rest.length === 0) return 'more';
  if (rest[0] === 0x2f || rest[0] === 0x2a) return afterTarget(rest, 32, 'http1');
  const text = rest.toString('latin1', 0, 8).toLowerCase();
  const scheme = ['http://', 'https://'].find((one) => one.startsWith(text.slice(0, one.length)));
  if (scheme) return text.length >= scheme.length ? 'http1' : 'more';
  return afterTarget(rest, maxLine, 'opaque');
}

/** Decided by the version once the first line is whole; by its length where that does not come. */
function afterTarget(rest: Buffer, limit: number, beyond: Detected): Detected | 'more' {
  const lf = rest.indexOf(10);
  if (lf >= 0) return rest.toString('latin1', 0, lf).includes(' HTTP/') ? 'http1' : 'opaque';
  if (beyond === 'opaque' && rest.some((byte) => byte < 32 && byte !== 9 && byte !== 13)) return 'opaque';
  return rest.length > limit ? beyond : 'more';
}

/**
 * Reads from a connection until its protocol is told, the client has been silent for `graceMs`, or it has ended its
 * side (`ended`: with no byte; it may still listen) or gone.
 * Calls back once with what was read; the connection is then paused and without listeners of this function.
 */
export function awaitProtocol(
  connection: Duplex,
  graceMs: number,
  callback: (outcome: Detected | 'silent' | 'ended' | 'closed', read: Buffer | undefined) => void,
): void {
  let read: Buffer | undefined;
  const finish = (outcome: Detected | 'silent' | 'ended' | 'closed') => {
    clearTimeout(timer);
    connection.removeListener('data', onData).removeListener('end', onEnd).removeListener('close', onClose);
    connection.removeListener('error', onClose);
    connection.pause();
    callback(outcome, read);
  };
  const onData = (chunk: Buffer) => {
    read = read ? Buffer.concat([read, chunk]) : owned(chunk);
    const decided = detectProtocol(read);
    if (decided !== 'more') finish(decided);
  };
  const onEnd = () => finish(read ? 'opaque' : 'ended');
  const onClose = () => finish('closed');
  // A client that has begun a request line gets its time: the HTTP engine's own head timeout bounds it. One that has
  // sent nothing may be waiting for the server to speak first.
  const timer = setTimeout(() => {
    if (!read) finish('silent');
    else finish(begunRequest.test(read.toString('latin1', 0, 64)) ? 'http1' : 'opaque');
  }, graceMs);
  connection.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
}
