/** A short run of a seed that does not change; `npm run fuzz` looks further. */
import { expect, test } from 'vitest';
import { fuzz } from './fuzz.ts';
import { serverKinds } from './servers/kinds.ts';

test('other servers and clients read what the proxy passes on as the proxy did', async () => {
  const peers = serverKinds.map(({ name }) => name);
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  const result = await fuzz({ seconds: 15, seed: 1, peers, say });
  expect(result.findings).toEqual([]);
  // Much was refused, but not all: else this proves nothing.
  expect(result.peers).toContain('node');
  expect(result.accepted).toBeGreaterThan(20);
}, 90_000);
