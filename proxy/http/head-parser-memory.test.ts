import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { HeadParser } from './head-parser.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void;
const old = () => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space')!.space_used_size;

test('heads that are read leave nothing that only marking the whole heap finds', () => {
  const parser = new HeadParser('request');
  const head = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
  const read = (count: number) => {
    for (let i = 0; i < count; i++) {
      parser.reset();
      if (parser.parse(head, 0) !== head.length) throw new Error('not read');
    }
  };
  read(1_000);
  // What the parser has now is old: a new piece that it leads to would be kept, and so on.
  collect({ type: 'major' });
  const before = old();
  for (let turn = 0; turn < 50; turn++) {
    read(1_000);
    collect({ type: 'minor' });
  }
  expect(old() - before).toBeLessThan(2 << 20);
});
