/** Responses to begin with, as an application may send them: right, nearly so, and not at all. */
import type { Random } from './random.ts';
import { chunkedBodies, trickyChunkedBodies, trickyHeaders } from './request-seeds.ts';

const statusLines = [
  'HTTP/1.1 200 OK',
  'HTTP/1.1 404 Not Found',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 Not Modified',
  'HTTP/1.1 206 Partial Content',
  'HTTP/1.1 500 Oh',
  'HTTP/1.0 200 OK',
];

const trickyStatusLines = [
  'HTTP/1.1 200',
  'HTTP/1.1 200 ',
  'HTTP/1.1  200 OK',
  'HTTP/1.1 200  OK',
  'HTTP/1.1\t200 OK',
  'HTTP/1.1 20 OK',
  'HTTP/1.1 2000 OK',
  'HTTP/1.1 099 OK',
  'HTTP/1.1 999 OK',
  'HTTP/1.1 +20 OK',
  'HTTP/1.1 2xx OK',
  'HTTP/1.1 205 Reset Content',
  'HTTP/1.1 101 Switching Protocols',
  'HTTP/1.1 100 Continue',
  'HTTP/1.2 200 OK',
  'HTTP/2.0 200 OK',
  'HTTP/0.9 200 OK',
  'http/1.1 200 OK',
  ' HTTP/1.1 200 OK',
  '\r\nHTTP/1.1 200 OK',
  'ICY 200 OK',
  'HTTP/1.1 200 O\0K',
  'HTTP/1.1 200 O\rK',
  'HTTP/1.1 200 \xe9',
];

const headers = ['Server: x', 'X-A: 1', 'Set-Cookie: a', 'Connection: keep-alive', 'Connection: close', 'Trailer: X-T'];
const plainBodies = ['', 'a', 'hello', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged', '0\r\n\r\n'];
const interims = ['HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'];
const forged = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged';

export function responseSeed(random: Random): string {
  const lines = [random.chance(0.15) ? random.pick(trickyStatusLines) : random.pick(statusLines)];
  for (let count = random.below(3); count > 0; count--) lines.push(random.pick(headers));
  let body = '';
  const framing = random.next();
  if (framing < 0.4) {
    body = random.chance(0.4) ? random.pick(trickyChunkedBodies) : random.pick(chunkedBodies);
    lines.push('Transfer-Encoding: chunked');
  } else if (framing < 0.85) {
    body = random.pick(plainBodies);
    const off = random.chance(0.2) ? random.pick([-1, 1, -5, 5]) : 0;
    lines.push(`Content-Length: ${Math.max(0, body.length + off)}`);
  } else body = random.pick(plainBodies);
  if (random.chance(0.35)) lines.splice(1 + random.below(lines.length), 0, random.pick(trickyHeaders));
  const before = random.chance(0.1) ? random.pick(interims) : '';
  const behind = random.chance(0.15) ? forged : '';
  return `${before}${lines.join('\r\n')}\r\n\r\n${body}${behind}`;
}
