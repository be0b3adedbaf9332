/** HPACK on the examples of RFC 7541 appendix C, and on blocks that no peer may send. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { flag } from './frames.ts';
import { HeaderBlocks } from './header-blocks.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import { encodeHeaders } from './hpack-encoder.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const request = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
const second = [...request, 'cache-control', 'no-cache'];
const third = [
  ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html', ':authority', 'www.example.com'],
  ...['custom-key', 'custom-value'],
];
const found = [':status', '302', 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:21 GMT'];
const location = ['location', 'https://www.example.com'];
const changed = [':status', '307', ...found.slice(2), ...location];
const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
const last = [
  ...[':status', '200', 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:22 GMT', ...location],
  ...['content-encoding', 'gzip', 'set-cookie', cookie],
];
/** A dynamic table of 256 bytes, as the responses of the examples have it. */
const small = '3fe1 01';

function decodeAll(blocks: string[]): string[][] {
  const decoder = new HpackDecoder(65_536);
  return blocks.map((block) => {
    const headers: string[] = [];
    expect(decoder.decode(hex(block), headers)).toBe('ok');
    return headers;
  });
}

test('requests without Huffman code (C.3)', () => {
  const blocks = [
    '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
    '8286 84be 5808 6e6f 2d63 6163 6865',
    '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
  ];
  expect(decodeAll(blocks)).toEqual([request, second, third]);
});

test('requests with Huffman code (C.4)', () => {
  const blocks = [
    '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
    '8286 84be 5886 a8eb 1064 9cbf',
    '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
  ];
  expect(decodeAll(blocks)).toEqual([request, second, third]);
});

test('responses whose table is full (C.6)', () => {
  const blocks = [
    `${small} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
    '4883 640e ffc1 c0bf',
    '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
  ];
  expect(decodeAll(blocks)).toEqual([[...found, ...location], changed, last]);
});

test('what is encoded is decoded to the same', () => {
  const name = fc.stringMatching(/^[a-z0-9-]{1,40}$/);
  const value = fc.stringMatching(/^[\x20-\x7e]{0,300}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 30 }), (pairs) => {
      const headers: string[] = [];
      expect(new HpackDecoder(1 << 20).decode(encodeHeaders(pairs.flat()), headers)).toBe('ok');
      expect(headers).toEqual(pairs.flat());
    }),
  );
});

test('any bytes are decoded or refused', () => {
  const decoder = new HpackDecoder(4096);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const headers: string[] = [];
      expect(['ok', 'malformed', 'too-large']).toContain(decoder.decode(Buffer.from(bytes), headers));
      expect(headers.length % 2).toBe(0);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ['index 0', '80'],
  ['an index beyond both tables', 'ff 80 01'],
  ['a string that ends early', '40 0a 61'],
  ['an integer without end', '7f ff ff ff ff ff ff'],
  ['a table larger than allowed', '3f e2 1f'],
  ['a change of the table behind a header', '82 20'],
  ['Huffman code padded with zeros', '40 81 18 81 18'],
  ['Huffman code of a whole padding byte', '40 82 1f ff 00'],
  ['end of string inside Huffman code', '40 84 ff ff ff ff 00'],
])('refused: %s', (_, block) => {
  expect(new HpackDecoder(4096).decode(hex(block), [])).toBe('malformed');
});

test('a small block that means a large list is told, and the table stays right', () => {
  const decoder = new HpackDecoder(4096);
  const value = 'x'.repeat(2000);
  const literal = Buffer.concat([Buffer.from([0x40, 1, 97, 0x7f, 0xd1, 0x0e]), Buffer.from(value)]);
  expect(decoder.decode(literal, [])).toBe('ok');
  const bomb: string[] = [];
  expect(decoder.decode(Buffer.alloc(5000, 0xbe), bomb)).toBe('too-large');
  expect(bomb.join('').length).toBeLessThanOrEqual(4096);
  const after: string[] = [];
  expect(decoder.decode(Buffer.from([0xbe]), after)).toBe('ok');
  expect(after).toEqual(['a', value]);
});

test('a block that comes again means what it meant, whatever came between', () => {
  const blocks = new HeaderBlocks(65_536);
  const plain = new HpackDecoder(65_536);
  // Literals that are indexed, entries of the table, names of either table, a table made smaller.
  const field = fc.constantFrom('82', '40 01 61 01 62', '41 01 63', 'be', 'bf', '7e 01 64', '00 01 61 01 65');
  const block = fc.tuple(fc.constantFrom('', '', '', '20', '3f 1f', '3f e1 1f'), fc.array(field, { maxLength: 4 }));
  fc.assert(
    fc.property(fc.array(block, { maxLength: 30 }), (many) => {
      for (const [size, fields] of many) {
        const bytes = hex(size + fields.join(''));
        const expected: string[] = [];
        const result = plain.decode(bytes, expected);
        const got = blocks.begin(flag.endHeaders, 1, bytes)!;
        expect('list' in got ? got.list.fields : 'malformed').toEqual(result === 'ok' ? expected : result);
      }
    }),
    { numRuns: 500 },
  );
});
