import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BodyFramer } from './body-framer.ts';
import { HeadParser } from './head-parser.ts';

const body = Buffer.from('5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\nNEXT');
const head = 'POST /a?b HTTP/1.1\r\nHost: web\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n';

test('a chunked body ends at the same byte however it is split', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (sizes) => {
      const framer = new BodyFramer();
      framer.start('chunked', 0);
      let taken = 0;
      for (let at = 0, i = 0; at < body.length && !framer.done; i++) {
        const chunk = body.subarray(at, at + sizes[i % sizes.length]!);
        taken += framer.take(chunk, 0);
        at += chunk.length;
      }
      expect([framer.done, framer.failed, taken]).toEqual([true, false, body.length - 4]);
    }),
  );
});

test('a request head reads the same from any split', () => {
  const bytes = Buffer.from(head);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: bytes.length - 1 }), (cut) => {
      const parser = new HeadParser('request');
      expect(parser.parse(bytes.subarray(0, cut), 0)).toBe(0);
      expect(parser.parse(bytes, 0)).toBe(bytes.length);
      expect([parser.method, parser.chunked, parser.error]).toEqual(['POST', true, undefined]);
    }),
  );
});

test.each([
  ['GET / HTTP/1.1\r\n\r\n', 'host-missing'],
  ['GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 'host-repeated'],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 'length-repeated'],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'length-and-chunked'],
  ['POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', 'transfer-encoding-in-http-1-0'],
  ['GET / HTTP/1.1\nHost: a\r\n\r\n', 'bare-lf'],
  ['GET / HTTP/1.1\r\nHost : a\r\n\r\n', 'bad-header-name'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n', 'bad-header-value'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 'bad-header-value'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n', 'folded-header'],
  ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 'method-refused'],
])('%j is refused as %s', (text, code) => {
  const parser = new HeadParser('request');
  expect(parser.parse(Buffer.from(text, 'latin1'), 0)).toBe(-1);
  expect(parser.error).toBe(code);
});
