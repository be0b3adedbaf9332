import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cniClusterRules, cniNamespaceRules } from './cni.ts';
import { clusterRules, namespaceRules, type Rule } from './rbac.ts';

const text = readFileSync(join(import.meta.dirname, '../docs/rbac.md'), 'utf8');

/** The rows of the first table after a sentence, as `verbs resource names`; each must have a reason. */
function documented(sentence: string): string[] {
  const table = text.split(sentence)[1]!.split('\n\n')[1]!;
  const rows = table.split('\n').slice(2);
  return rows
    .map((row) => {
      const [verbs = '', resource = '', names = '', why = ''] = row
        .split('|')
        .slice(1)
        .map((cell) => cell.trim());
      expect(why, resource).not.toBe('');
      return `${verbs.replaceAll(' ', '').split(',').sort()} ${resource} ${names}`;
    })
    .sort();
}

function granted(rules: readonly Rule[]): string[] {
  return rules
    .flatMap(({ apiGroups, resources, resourceNames = [], verbs }) =>
      resources.map((name) => {
        const group = apiGroups.join();
        return `${[...verbs].sort()} ${group ? `${name}.${group}` : name} ${resourceNames.join()}`;
      }),
    )
    .sort();
}

test.each([
  ['ClusterRole `mesh-control`', clusterRules],
  ['Role `mesh-control`', namespaceRules],
  ['ClusterRole `mesh-cni`', cniClusterRules],
  ['Role `mesh-cni`', cniNamespaceRules],
])('docs/rbac.md justifies every right of the %s, and no other', (role, rules) => {
  expect(documented(`by ${role}:`)).toEqual(granted(rules));
});
