import { describe, expect, test } from 'vitest';
import { ResponseReader } from './response-reader.ts';

/** What the reader says after each piece. */
function read(text: string, size: number): { ends: number[]; reader: ResponseReader } {
  const reader = new ResponseReader();
  const bytes = Buffer.from(text, 'latin1');
  const ends: number[] = [];
  for (let at = 0; at < bytes.length; at += size)
    if (reader.read(bytes.subarray(at, at + size))) ends.push(Math.min(at + size, bytes.length));
  return { ends, reader };
}

const head = (...lines: string[]) => `${['HTTP/1.1 200 OK', ...lines].join('\r\n')}\r\n\r\n`;

describe.each([
  ['a length', `${head('Content-Length: 5')}hello`, 200],
  ['no body by its length', head('content-length: 0'), 200],
  ['no body by its status', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 12\r\n\r\n', 304],
  ['chunks', `${head('Transfer-Encoding: chunked')}5\r\nhello\r\n1a;x=y\r\n${'z'.repeat(26)}\r\n0\r\n\r\n`, 200],
  ['chunks and trailers', `${head('transfer-encoding: gzip, chunked')}1\r\na\r\n0\r\nsum: 1\r\n\r\n`, 200],
  ['interim responses', `HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n${head('content-length: 2')}ok`, 200],
])('a response with %s', (_, text, status) => {
  test.each([1, 2, 3, 7, 1000])('ends with its last byte, read %i bytes at a time', (size) => {
    const { ends, reader } = read(text, size);
    expect(ends).toEqual([text.length]);
    expect(reader.status).toBe(status);
    expect(reader.closes).toBe(false);
  });
});

test('a response without framing ends with the connection', () => {
  const { ends, reader } = read(`${head('connection: keep-alive, Close')}all that comes`, 4);
  expect(ends).toEqual([]);
  expect(reader.endsWithConnection).toBe(true);
  expect(reader.closes).toBe(true);
});

test.each([
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
  ['a chunk without a size', `${head('transfer-encoding: chunked')}hello\r\n`],
  ['an endless head', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`],
])('%s is an error', (_, text) => {
  expect(() => read(text, 1000)).toThrow(Error);
});
