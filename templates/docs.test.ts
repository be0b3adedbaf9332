import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
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

test('docs/rbac.md justifies every right of the cluster role, and no other', () => {
  expect(documented('by ClusterRole `mesh-control`:')).toEqual(granted(clusterRules));
});

test('docs/rbac.md justifies every right of the role, and no other', () => {
  expect(documented('by Role `mesh-control`:')).toEqual(granted(namespaceRules));
});
