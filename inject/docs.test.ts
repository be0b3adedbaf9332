import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { policyAnnotations, readTrafficPolicy } from '../protocol/traffic-policy.ts';
import { injectCodes } from './codes.ts';
import { initStep, meshContainers, meshVolumes } from './containers.ts';
import { settings } from './settings.ts';

const text = readFileSync(new URL('../docs/injection.md', import.meta.url), 'utf8');
const rows = (heading: string) =>
  text
    .split(`## ${heading}\n`)[1]
    ?.split('\n## ')[0]
    ?.match(/^\| .*`.*$/gm) ?? [];

test('the document lists exactly the settings there are', () => {
  const expected = Object.entries(settings).map(
    ([name, { description, allowed, example }]) =>
      `| \`config.mesh.dev/${name}\` | ${description} | ${allowed} | \`${example}\` |`,
  );
  expect(rows('Settings')).toEqual(expected);
});

test('docs/resilience.md lists exactly the annotations of a policy, with examples that hold', () => {
  const lines =
    readFileSync(new URL('../docs/resilience.md', import.meta.url), 'utf8').match(/^\| `config\..*$/gm) ?? [];
  const listed = lines.map((line) => /^\| `(\S+)` \|.* \| `(\S+)` \|$/.exec(line)!.slice(1) as [string, string]);
  expect(listed.map(([name]) => name)).toEqual(policyAnnotations.map((name) => `config.mesh.dev/${name}`));
  expect(readTrafficPolicy(Object.fromEntries(listed)).problems).toEqual([]);
});

test('the document lists exactly the codes there are', () => {
  const documented = rows('Why a pod has no proxy').map((row) => /^\| `([^`]+)`/.exec(row)?.[1]);
  expect(documented).toEqual([...injectCodes]);
});

test('the document lists what is added', () => {
  const added = rows('What is added').join('\n');
  for (const name of [...meshContainers, ...meshVolumes]) expect(added).toContain(`\`${name}\``);
  const step = initStep({ image: 'i', version: '1', trustDomain: 'd', explicit: true }, {});
  expect(step.securityContext).toMatchObject({ capabilities: { add: ['NET_ADMIN', 'NET_RAW'] } });
});
