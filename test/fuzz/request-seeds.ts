/** Requests to begin with: the grammar of RFC 9112, and the ways in which servers are known to read them differently. */
import type { Random } from './random.ts';

const repeat = (text: string, times: number): string => text.repeat(times);

const requestLines = [
  'GET / HTTP/1.1',
  'GET /a/b?c=d&e HTTP/1.1',
  'POST /p HTTP/1.1',
  'PUT /p%20q HTTP/1.1',
  'HEAD /h HTTP/1.1',
  'DELETE /d HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'OPTIONS /o HTTP/1.1',
  'PATCH /x;y=z HTTP/1.1',
  'GET http://web/abs HTTP/1.1',
  'POST http://web HTTP/1.1',
  'GET http://web?q HTTP/1.1',
  'GET / HTTP/1.0',
  'POST /old HTTP/1.0',
];

const trickyRequestLines = [
  'GET /',
  'GET / HTTP/0.9',
  'GET / HTTP/1.2',
  'GET / HTTP/2.0',
  'GET / HTTP/1.10',
  'GET / http/1.1',
  'GET / HTTP/1.1 ',
  'GET  / HTTP/1.1',
  'GET /  HTTP/1.1',
  'GET\t/ HTTP/1.1',
  ' GET / HTTP/1.1',
  'GET /a b HTTP/1.1',
  'GET /a\0b HTTP/1.1',
  'GET /a\tb HTTP/1.1',
  'GET /a#b HTTP/1.1',
  'GET /a\\b HTTP/1.1',
  'GET /\xe9 HTTP/1.1',
  'GET /%00 HTTP/1.1',
  'GET /../../x HTTP/1.1',
  'GET //web/x HTTP/1.1',
  'GET x HTTP/1.1',
  'GET * HTTP/1.1',
  'GET ? HTTP/1.1',
  'GET ?q HTTP/1.1',
  'GET http:// HTTP/1.1',
  'GET http:///x HTTP/1.1',
  'GET http://other/ HTTP/1.1',
  'GET http://web:80/ HTTP/1.1',
  'GET http://user@web/ HTTP/1.1',
  'GET http://web#f HTTP/1.1',
  'GET HTTP://WEB/x HTTP/1.1',
  'GET https://web/s HTTP/1.1',
  'GET ftp://web/ HTTP/1.1',
  'CONNECT web:80 HTTP/1.1',
  'CONNECT /x HTTP/1.1',
  'get / HTTP/1.1',
  'G@T / HTTP/1.1',
  'TRACE / HTTP/1.1',
  'PRI * HTTP/2.0',
  'OPTIONS http://web HTTP/1.1',
];

const headers = [
  'Accept: */*',
  'X-A: 1',
  'X-B: a, b;q="c d"',
  'X-C:',
  'X-D: \t padded \t',
  'X-E: \xe9\x80',
  'Cookie: a=b; c=d',
  'Connection: keep-alive',
  'Connection: close',
  'Connection: X-A',
  'Keep-Alive: timeout=5',
  'TE: trailers',
  'Trailer: X-T',
  'Expect: 100-continue',
];

/** Lines that framing, host and connection hang on, in every form that some reader takes for another. */
export const trickyHeaders = [
  'Content-Length: 0',
  'Content-Length: 5',
  'Content-Length: 05',
  'Content-Length: 5 ',
  'Content-Length:5',
  'Content-Length: +5',
  'Content-Length: -1',
  'Content-Length: 5, 5',
  'Content-Length: 5,6',
  'Content-Length: 5 6',
  'Content-Length: 0x5',
  'Content-Length: 5.0',
  'Content-Length: 5e0',
  'Content-Length: 5;a',
  'Content-Length: "5"',
  'Content-Length: ',
  'Content-Length: 18446744073709551621',
  'Content-Length: 99999999999999999999999',
  'Content-Length: 4294967301',
  'Content-Length : 5',
  'Content-Length\t: 5',
  ' Content-Length: 5',
  'Content_Length: 5',
  'Content-Length\0: 5',
  'Content-Length: 5\0',
  'Content-Length: \x0b5',
  'Content-Length: 5\r',
  'Content-Length: \xb9',
  'content-length: 3',
  'X: y\rContent-Length: 5',
  'X: y\nContent-Length: 5',
  'X: y\r\n Content-Length: 5',
  'X: y\r\r\nContent-Length: 5',
  'Transfer-Encoding: chunked',
  'transfer-encoding: chunked',
  'Transfer-Encoding:chunked',
  'Transfer-Encoding: CHUNKED',
  'Transfer-Encoding: Chunked ',
  'Transfer-Encoding: chunked,',
  'Transfer-Encoding: ,chunked',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity, chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: gzip',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: chunkedx',
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding: 'chunked'",
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding: chunked\0',
  'Transfer-Encoding: \x0bchunked',
  'Transfer-Encoding: \x0cchunked',
  'Transfer-Encoding: \xa0chunked',
  'Transfer-Encoding: \x85chunked',
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding:\r\n chunked',
  'Transfer-Encoding:\n chunked',
  'Transfer-Encoding: chunked\r',
  'Transfer-Encoding: x\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: x',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding\t: chunked',
  ' Transfer-Encoding: chunked',
  'Transfer_Encoding: chunked',
  'Transfer-Encoding',
  'Transfer-Encoding:',
  'X: y\rTransfer-Encoding: chunked',
  'X: y\nTransfer-Encoding: chunked',
  'X: y\r\n\tTransfer-Encoding: chunked',
  'Host: other',
  'Host: web',
  'Host:',
  'Host : web',
  'Host: web other',
  'Host: web, other',
  'Host: web/x',
  'Host: user@web',
  'Host: web:80',
  'Host: web:port',
  'Host: [::1]:80',
  'Host: \xe9',
  ' Host: other',
  'X: y\r\n Host: other',
  'Connection: Host',
  'Connection: Content-Length',
  'Connection: Transfer-Encoding',
  'Connection: close, X-A',
  'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__',
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Proxy-Connection: keep-alive',
  'Expect: 100-continue',
  'Expect: 200-ok',
  'Expect: 100-continue, x',
  'Max-Forwards: 0',
  'X-A : 1',
  'X-A',
  ': 1',
  '"X-A": 1',
  'X-(A): 1',
  'X-A: a\0b',
  'X-A: a\x7fb',
  'X-A: a\rb',
  'X-A: a\nb',
  'X-A: a\r\n b',
  'X\xe9: 1',
  `X-Long: ${repeat('y', 9000)}`,
  repeat('X-M: 1\r\n', 110).slice(0, -2),
];

/** Whole chunked bodies, and what becomes of them. */
export const chunkedBodies = [
  '0\r\n\r\n',
  '5\r\nhello\r\n0\r\n\r\n',
  '1\r\na\r\n2\r\nbc\r\n0\r\n\r\n',
  '5;ext\r\nhello\r\n0\r\n\r\n',
  '5;ext=val;x="y z"\r\nhello\r\n0;last\r\n\r\n',
  '5 ; ext\r\nhello\r\n0\r\n\r\n',
  '5;a=";\r\nhello\r\n0\r\n\r\n',
  '5;a="\\\r\nhello\r\n0\r\n\r\n',
  '5;\r\nhello\r\n0\r\n\r\n',
  '5;;;\r\nhello\r\n0\r\n\r\n',
  '0000000005\r\nhello\r\n0\r\n\r\n',
  '00000000000000000005\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello\r\n000\r\n\r\n',
  'A\r\n0123456789\r\n0\r\n\r\n',
  'a\r\n0123456789\r\n0\r\n\r\n',
  '5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  '5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n',
  '5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\nHost: other\r\n\r\n',
  '0\r\nX-T:1\r\nX-U: \xe9\r\n\r\n',
];

export const trickyChunkedBodies = [
  '5\nhello\r\n0\r\n\r\n',
  '5\r\nhello\n0\r\n\r\n',
  '5\r\nhello0\r\n\r\n',
  '5\r\nhello\r\n0\n\n',
  '5\r\nhello\r\n0\r\n\n',
  '5\r\nhello\r\n0\r\n',
  '5\r\nhello\r\n0\r\nX-T: 1\r\n',
  '5\rhello\r\n0\r\n\r\n',
  '5\r\nhello\r\r0\r\n\r\n',
  '5\r\nhellox\n0\r\n\r\n',
  '5\r\nhelloxy0\r\n\r\n',
  '0x5\r\nhello\r\n0\r\n\r\n',
  '+5\r\nhello\r\n0\r\n\r\n',
  '-5\r\nhello\r\n0\r\n\r\n',
  ' 5\r\nhello\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '5\t\r\nhello\r\n0\r\n\r\n',
  '5 5\r\nhello\r\n0\r\n\r\n',
  '5\0\r\nhello\r\n0\r\n\r\n',
  '5;a\nb\r\nhello\r\n0\r\n\r\n',
  '5;a\rb\r\nhello\r\n0\r\n\r\n',
  '5;a\0b\r\nhello\r\n0\r\n\r\n',
  '5,a\r\nhello\r\n0\r\n\r\n',
  '5_0\r\nhello\r\n0\r\n\r\n',
  '5g\r\nhello\r\n0\r\n\r\n',
  '\r\n5\r\nhello\r\n0\r\n\r\n',
  '5\r\n\r\nhello\r\n0\r\n\r\n',
  '100000000000000000005\r\nhello\r\n0\r\n\r\n',
  'ffffffffffffffff\r\nhello\r\n0\r\n\r\n',
  '7fffffffffffffff\r\nhello\r\n0\r\n\r\n',
  '100000005\r\nhello\r\n0\r\n\r\n',
  '0\r\n X-T: 1\r\n\r\n',
  '0\r\nX-T : 1\r\n\r\n',
  '0\r\nX-T: 1\r\n folded\r\n\r\n',
  '0\r\nX-T: 1\nX-U: 2\r\n\r\n',
  '0\r\nX-T: a\0b\r\n\r\n',
  '0\r\nno colon\r\n\r\n',
  '0\r\nGET /inside HTTP/1.1\r\nHost: web\r\n\r\n',
  '0\r\n: x\r\n\r\n',
  '0\r\n\rX\r\n\r\n',
];

/** A body that a reader of another mind takes for a request. */
const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: web\r\nX-S: ';
const plainBodies = ['', 'a', 'hello', '0\r\n\r\n', `0\r\n\r\n${smuggled}`, smuggled, '5\r\nhello\r\n0\r\n\r\n'];

/** One request, of which some part is not as it should be in about half of the cases. */
export function requestSeed(random: Random): string {
  const line = random.chance(0.12) ? random.pick(trickyRequestLines) : random.pick(requestLines);
  const lines = random.chance(0.97) ? ['Host: web'] : [];
  for (let count = random.below(4); count > 0; count--) lines.push(random.pick(headers));
  let body = '';
  const framing = random.next();
  if (framing < 0.4) {
    body = random.chance(0.35) ? random.pick(trickyChunkedBodies) : random.pick(chunkedBodies);
    if (random.chance(0.15)) body = randomChunks(random);
    lines.push('Transfer-Encoding: chunked');
  } else if (framing < 0.75) {
    body = random.pick(plainBodies);
    const off = random.chance(0.06) ? random.pick([-1, 1, 2, -5, 5]) : 0;
    lines.push(`Content-Length: ${Math.max(0, body.length + off)}`);
  }
  if (random.chance(0.35)) {
    const tricky = random.pick(trickyHeaders);
    // In place of the framing, or beside it, before or behind.
    if (random.chance(0.3) && lines.length > 1) lines[lines.length - 1] = tricky;
    else lines.splice(random.below(lines.length + 1), 0, tricky);
  }
  return `${[line, ...lines].join('\r\n')}\r\n\r\n${body}`;
}

function randomChunks(random: Random): string {
  let body = '';
  for (let count = random.below(5); count > 0; count--) {
    const size = 1 + random.below(20);
    const digits = size.toString(16);
    body += `${random.chance(0.3) ? digits.toUpperCase() : digits}\r\n${repeat('z', size)}\r\n`;
  }
  return `${body}0\r\n\r\n`;
}
