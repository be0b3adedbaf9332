/** Header blocks as a server reads them: RFC 7541, and what RFC 9113 section 4.3 makes of its errors. */
import http2 from 'node:http2';
import { expect, test } from 'vitest';
import { until } from '../../test-peer.ts';
import {
  bytes,
  COMPRESSION_ERROR,
  END_HEADERS,
  filled,
  get,
  HEADERS,
  headers,
  hex,
  hold,
  literal,
  open,
  post,
  reset,
  settings,
  windowUpdate,
} from './raw-frames.ts';
import { type Case, checkServer, connectionError, dial, seen } from './server-cases.ts';

/** Literal with incremental indexing and a new name (section 6.2.1). */
const indexing = (name: string, value: string) => bytes(0x40, name.length, name, value.length, value);
/** An integer behind its prefix, all ones: groups of seven bits, lowest first (section 5.1). */
const beyond = (value: number): Buffer =>
  value < 128 ? bytes(value) : bytes((value & 127) | 128, beyond(Math.floor(value / 128)));
/** A dynamic table's new size (section 6.3). */
const resize = (size: number) => (size < 31 ? bytes(0x20 | size) : bytes(0x3f, beyond(size - 31)));
/** `x: ` and a value of raw bytes, whose length may be any. */
const valued = (...value: (number | Buffer)[]) => bytes(get, 0x00, 1, 'x', ...value);
const newest = 0x80 | 62;

const wrong: [section: string, what: string, ...blocks: Buffer[]][] = [
  ['2.3.3', 'an index behind both tables', bytes(get, newest)],
  ['2.3.3', 'an index behind both tables as a name', bytes(get, 0x7f, 0x00, 1, 'v')],
  ['2.3.3', 'an index behind the last entry', bytes(get, indexing('x', '1')), bytes(get, newest + 1)],
  ['4.2', 'a table larger than 4,096 bytes', bytes(resize(4097), get)],
  ['4.2', 'a table’s size behind a field', bytes(get, resize(100))],
  ['4.2', 'a table’s size between fields', bytes(0x82, resize(100), get.subarray(1))],
  ['4.3', 'an entry that a smaller table has dropped', bytes(get, indexing('x', '1')), bytes(resize(0), get, newest)],
  [
    '4.4',
    'an entry in a table that one too large has emptied',
    bytes(get, indexing('x', '1')),
    bytes(get, 0x40, 1, 'y', 0x7f, beyond(5_000 - 127), filled(5_000, 0x61)),
    bytes(get, newest),
  ],
  ['5.1', 'an index of ten bytes', bytes(get, 0xff, filled(9, 0xff), 0x01)],
  ['5.1', 'an index of 2^32', bytes(get, 0xff, hex('8180 8080 10'))],
  ['5.1', 'an integer that does not end', bytes(get, 0xff, 0x80)],
  ['5.1', 'a prefix that goes on behind the block', bytes(get, 0xff)],
  ['5.2', 'a string longer than its block', valued(5, 0x61)],
  ['5.2', 'a string without a length', bytes(get, 0x00, 1, 'x')],
  ['5.2', 'a name longer than its block', bytes(get, 0x00, 9, 'x')],
  ['5.2', 'a string of 2^28 bytes', valued(0x7f, hex('81ff ff7f'), 0x61)],
  ['5.2', 'a Huffman code with EOS', valued(0x84, hex('ffff fffc'))],
  ['5.2', 'a Huffman code with EOS within', valued(0x85, hex('1fff ffff fc'))],
  ['5.2', 'a Huffman code padded with more than 7 bits', valued(0x82, hex('1fff'))],
  ['5.2', 'a Huffman code padded with zeros', valued(0x81, hex('18'))],
  ['5.2', 'a Huffman code of padding alone, 8 bits', valued(0x81, hex('ff'))],
  ['6.1', 'the index 0', bytes(get, 0x80)],
  ['6.2', 'a literal that ends behind its first byte', bytes(get, 0x40)],
];

const cases: Case[] = [
  ...wrong.map(([section, what, ...blocks]) => ({
    section: `RFC 7541 ${section}`,
    must: `a connection error of COMPRESSION_ERROR: ${what}`,
    send: blocks.map((one, i) => headers(2 * i + 1, one)),
    verdict: { goaway: COMPRESSION_ERROR },
  })),
  {
    section: 'RFC 7541 4.2',
    must: 'a table’s size may change more than once ahead of a block',
    send: [headers(1, bytes(resize(0), resize(4096), get))],
    verdict: { status: 200 },
  },
  connectionError('4.3', 'an error in a trailer', COMPRESSION_ERROR, open, headers(1, bytes(newest))),
];

checkServer(cases);

/** What the application sees of `x`, request by request. */
async function read(...blocks: Buffer[]): Promise<unknown[]> {
  const peer = await dial();
  for (const [i, one] of blocks.entries()) {
    peer.send(headers(2 * i + 1, one));
    await peer.answers(2 * i + 1, 200);
  }
  return seen.map((one) => one.x);
}

test('RFC 7541 6.2: what is to be indexed is, and nothing else', async () => {
  const notIndexed = bytes(get, 0x00, 1, 'x', 1, 'b');
  const never = bytes(get, 0x10, 1, 'x', 1, 'c');
  const blocks = [bytes(get, indexing('x', 'a')), notIndexed, never, bytes(get, newest)];
  expect(await read(...blocks)).toEqual(['a', 'b', 'c', 'a']);
});

test('RFC 7541 6.2.3: what is never to be indexed is passed on so', async () => {
  await read(bytes(get, 0x10, 1, 'x', 1, 'c', literal('y', '1')));
  expect((seen[0] as { [http2.sensitiveHeaders]?: string[] })[http2.sensitiveHeaders]).toEqual(['x']);
});

test('RFC 7541 2.3.2: the newest entry comes first, the oldest goes first', async () => {
  const small = bytes(resize(80), get);
  const two = bytes(small, indexing('x', '1'), indexing('x', '2'));
  // Each takes 34 bytes: a third drops the first.
  expect(await read(two, bytes(get, newest), bytes(get, newest + 1))).toEqual(['1, 2', '2', '1']);
  seen.length = 0;
  expect(await read(two, bytes(get, indexing('x', '3')), bytes(get, newest + 1))).toEqual(['1, 2', '3', '2']);
});

test('RFC 7541 4.1: an entry takes 32 bytes besides its own', async () => {
  const fits = bytes(resize(34), get, indexing('x', '1'));
  expect(await read(fits, bytes(get, newest))).toEqual(['1', '1']);
  const peer = await dial();
  peer.send(headers(1, bytes(resize(33), get, indexing('x', '1'))), headers(3, bytes(get, newest)));
  await peer.endsWith(COMPRESSION_ERROR);
});

test('RFC 7541 5.1 and 5.2: long integers, Huffman codes and empty strings', async () => {
  const long = Buffer.alloc(5_000, 'l');
  const blocks = [
    valued(0x7f, beyond(5_000 - 127), long),
    // Zeros at the end of an integer are superfluous and no error.
    valued(0x7f, hex('8080 00'), Buffer.alloc(127, 'm')),
    valued(0x86, hex('a8eb 1064 9cbf')),
    valued(0),
  ];
  expect(await read(...blocks)).toEqual([String(long), 'm'.repeat(127), 'no-cache', '']);
});

test('4.3: blocks of streams that are refused, reset or malformed change the table all the same', async () => {
  const peer = await dial();
  for (let i = 0; i < 200; i++) peer.send(headers(2 * i + 1, hold));
  // Refused; malformed; a trailer of a stream that the server has reset.
  peer.send(headers(401, bytes(get, indexing('x', 'first'))), reset(1), reset(3));
  peer.send(headers(403, bytes(get, literal('X', '1'), indexing('x', 'second'))));
  await peer.answers(403, 400);
  peer.send(headers(405, post, END_HEADERS), windowUpdate(405, 0));
  await until(() => peer.resetOf(405) !== undefined, 'the reset');
  peer.send(headers(405, indexing('x', 'third')), headers(407, bytes(get, newest, newest + 1, newest + 2)));
  await peer.answers(407, 200);
  expect(seen.at(-1)!.x).toBe('third, second, first');
});

test('RFC 7541 4.2: a client whose table is smaller is told so ahead of the next block, once', async () => {
  const peer = await dial();
  await peer.fence();
  peer.send(settings(1, 0), headers(1, get));
  await peer.answers(1, 200);
  peer.send(headers(3, get));
  await peer.answers(3, 200);
  expect(peer.of(HEADERS).map(({ payload }) => payload[0])).toEqual([0x20, 0x88]);
});
