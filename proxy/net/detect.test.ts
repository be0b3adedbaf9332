import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { awaitProtocol, detectProtocol } from './detect.ts';

const detect = (text: string) => detectProtocol(Buffer.from(text, 'latin1'));

test.each([
  ['GET / HTTP/1.1\r\n', 'http1'],
  ['OPTIONS * HTTP/1.1\r\n', 'http1'],
  ['GET http://shop/ HTTP/1.1\r\n', 'http1'],
  ['PROPFIND /x HTTP/1.1\r\n', 'http1'],
  ['CONNECT a:1 HTTP/1.1\r\n', 'http1'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
  ['\x16\x03\x01\x02\x00', 'opaque'],
  ['*1\r\n$4\r\nPING\r\n', 'opaque'],
  ['PING\r\n', 'opaque'],
  ['SET /a b\r\n', 'opaque'],
  ['ping', 'opaque'],
  ['GET  / HTTP/1.1\r\n', 'http1'],
  ['GET\t/ HTTP/1.1\r\n', 'http1'],
  ['GET shop/ HTTP/1.1\r\n', 'http1'],
  ['EHLO shop.example\r\n', 'opaque'],
  ['CONNECT {"verbose":false}\r\n', 'opaque'],
  ['EHLO shop', 'more'],
  [`LONG ${'x'.repeat(1100)}`, 'opaque'],
  ['DATA \0\x01', 'opaque'],
  ['GE', 'more'],
  ['PRI * HTTP', 'more'],
  ['P', 'more'],
  ['', 'more'],
])('%j is %s', (bytes, expected) => {
  expect(detect(bytes)).toBe(expected);
});

test('a request cut anywhere is never taken for something else', () => {
  const request = 'POST /orders?id=1 HTTP/1.1\r\nHost: shop\r\n\r\n';
  fc.assert(
    fc.property(fc.integer({ min: 0, max: request.length }), (cut) => {
      expect(['more', 'http1']).toContain(detect(request.slice(0, cut)));
    }),
  );
});

test.each([
  ['GET /slow', 'http1'],
  ['GET http://slow', 'http1'],
  ['SLOW', 'opaque'],
  ['', 'silent'],
  [undefined, 'ended'],
])('a client that has sent %j and then pauses is %s', async (bytes, expected) => {
  const connection = new PassThrough();
  if (bytes === undefined) connection.end();
  else if (bytes) connection.write(bytes);
  const outcome = await new Promise((resolve) => {
    awaitProtocol(connection, 20, resolve);
    connection.resume();
  });
  expect(outcome).toBe(expected);
});
