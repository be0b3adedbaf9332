import { expect, test } from 'vitest';
import { BodyFramer } from './body-framer.ts';

function read(text: string): BodyFramer {
  const framer = new BodyFramer();
  framer.start('chunked', 0);
  framer.take(Buffer.from(text, 'latin1'), 0);
  return framer;
}

const extended = (bytes: number) => `1;${'e'.repeat(bytes)}\r\nx\r\n`;

test.each([
  ['1 ;a=b\r\nx\r\n0\r\n\r\n'],
  ['1\t;a\r\nx\r\n0;b="c d"\r\n\r\n'],
  ['0\r\nname: value\r\nother:\r\n\r\n'],
  ['1;a; b = c ;d="e \\" ; f"\r\nx\r\n0\r\n\r\n'],
  [`${extended(4000).repeat(4)}0\r\n\r\n`],
])('%.60j is a whole body', (text) => {
  const framer = read(text);
  expect([framer.done, framer.error]).toEqual([true, undefined]);
});

test.each([
  ['1 \r\nx\r\n0\r\n\r\n'],
  ['1 a\r\nx\r\n0\r\n\r\n'],
  ['1 1;a\r\nx\r\n0\r\n\r\n'],
  ['0\r\nno colon\r\n\r\n'],
  ['0\r\nname : value\r\n\r\n'],
  ['0\r\nname\r\n\r\n'],
  ['0\r\n: value\r\n\r\n'],
  ['0\r\nname: a\0b\r\n\r\n'],
  // Extensions have names; some readers look no further than the next line end, some than the next quote.
  ['1;\r\nx\r\n0\r\n\r\n'],
  ['1;;a\r\nx\r\n0\r\n\r\n'],
  ['1;a=\r\nx\r\n0\r\n\r\n'],
  ['1;a="b\r\nx\r\n0\r\n\r\n'],
  ['1;a="b\\"\r\nx\r\n0\r\n\r\n'],
  ['1;a="b"c\r\nx\r\n0\r\n\r\n'],
  ['1;a b\r\nx\r\n0\r\n\r\n'],
  ['1;a\nb\r\nx\r\n0\r\n\r\n'],
  [' 1\r\nx\r\n0\r\n\r\n'],
  ['0x1\r\nx\r\n0\r\n\r\n'],
  ['1\nx\r\n0\r\n\r\n'],
  ['1\r\nxy\r\n0\r\n\r\n'],
  [`${extended(4000).repeat(5)}0\r\n\r\n`],
  [`1${' '.repeat(17 << 10)};a\r\nx\r\n0\r\n\r\n`],
])('%.60j fails', (text) => {
  const framer = read(text);
  expect([framer.done, framer.error]).toEqual([false, 'bad-chunk']);
});
