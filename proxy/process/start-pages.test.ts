import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readOnlyFiles, releaseStartPages } from './start-pages.ts';

const smaps = `00400000-00401000 r-xp 00000000 fe:00 12                         /opt/mesh/node
Size:                  4 kB
Rss:                 400 kB
Anonymous:             0 kB
00500000-00501000 r--p 00000000 fe:00 12                         /opt/mesh/node
Rss:                  40 kB
Anonymous:             8 kB
00600000-00601000 rw-p 00000000 fe:00 12                         /opt/mesh/node
Rss:                   4 kB
Anonymous:             4 kB
00700000-00701000 r--p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             0 kB
`;

test('only read-only mappings of files are taken, with what is resident and changed of them', () => {
  expect(readOnlyFiles(smaps)).toEqual([
    { start: 0x400000n, end: 0x401000n, residentBytes: 400 << 10, changedBytes: 0 },
    { start: 0x500000n, end: 0x501000n, residentBytes: 40 << 10, changedBytes: 8 << 10 },
  ]);
});

test('pages that the start needed are given back, and the program goes on', () => {
  const resident = () =>
    readOnlyFiles(readFileSync('/proc/self/smaps', 'utf8')).reduce((sum, one) => sum + one.residentBytes, 0);
  const before = resident();
  expect(releaseStartPages()).toBeGreaterThan(10 << 20);
  expect(resident()).toBeLessThan(before / 2);
  expect(JSON.parse('{"still":["works"]}')).toEqual({ still: ['works'] });
});
