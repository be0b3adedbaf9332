import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { refusalReasons } from './verify.ts';

test('docs/encryption.md explains every reason to refuse a peer, and no other', () => {
  const text = readFileSync(new URL('../../docs/encryption.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \| ([^|]+) \| ([^|]{10,}) \|$/gm)];
  expect(rows.map(([, reason, meaning]) => [reason, meaning])).toEqual(Object.entries(refusalReasons));
});
