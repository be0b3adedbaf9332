import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { httpErrors } from './errors.ts';

test('docs/errors-proxy.md explains every error, with its statuses and meaning, and no other', () => {
  const text = readFileSync(new URL('../../docs/errors-proxy.md', import.meta.url), 'utf8');
  const documented = text
    .split(/^## /m)
    .slice(1)
    .map((section) => [
      section.split('\n', 1)[0],
      Number(/^Status: (\d+)$/m.exec(section)?.[1]),
      /^gRPC status: (\w+)$/m.exec(section)?.[1],
      /^Meaning: (.+)\.$/m.exec(section)?.[1],
      /^What to do: \S.{10,}$/m.test(section),
    ]);
  const made = Object.entries(httpErrors).map(([code, [status, grpc, meaning]]) => [code, status, grpc, meaning, true]);
  expect(documented).toEqual(made);
});
