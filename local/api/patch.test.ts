import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { KubeObject } from '../../kube/types.ts';
import { applyConfiguration, recordUpdate } from './apply.ts';
import { jsonPatch, mergePatch, strategicPatch } from './patch.ts';

const deployment = (containers: object[], extra: object = {}): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { template: { spec: { containers } }, ...extra },
});

test('a merge patch follows RFC 7386', () => {
  expect(mergePatch({ a: 'b', c: { d: 'e', f: 'g' } }, { a: 'z', c: { f: null } })).toEqual({ a: 'z', c: { d: 'e' } });
  expect(mergePatch({ a: [1, 2] }, { a: [3] })).toEqual({ a: [3] });
});

test('a JSON patch whose test fails changes nothing', () => {
  expect(() => jsonPatch({ a: 1 }, [{ op: 'test', path: '/a', value: 2 }])).toThrow('does not apply');
});

test('a strategic patch merges containers by name, deletes by directive and keeps the order asked for', () => {
  const old = {
    containers: [
      { name: 'a', image: 'a:1', env: [{ name: 'X', value: '1' }] },
      { name: 'b', image: 'b:1' },
    ],
  };
  const patch = {
    '$setElementOrder/containers': [{ name: 'c' }, { name: 'a' }],
    containers: [
      { name: 'a', image: 'a:2', env: [{ name: 'Y', value: '2' }] },
      { name: 'c', image: 'c:1' },
      { name: 'b', $patch: 'delete' },
    ],
  };
  expect(strategicPatch(old, patch)).toEqual({
    containers: [
      { name: 'c', image: 'c:1' },
      {
        name: 'a',
        image: 'a:2',
        env: [
          { name: 'X', value: '1' },
          { name: 'Y', value: '2' },
        ],
      },
    ],
  });
});

test('a patch applied twice is a patch applied once', () => {
  const small = fc.dictionary(
    fc.constantFrom('a', 'b', 'c'),
    fc.oneof(fc.integer(), fc.constant(null), fc.dictionary(fc.constantFrom('x', 'y'), fc.integer())),
  );
  fc.assert(
    fc.property(small, small, (object, patch) => {
      for (const apply of [mergePatch, strategicPatch])
        expect(apply(apply(object, patch), patch)).toEqual(apply(object, patch));
    }),
  );
});

test('an apply takes away what it applied before and names no more', () => {
  const first = applyConfiguration(
    undefined,
    deployment(
      [
        { name: 'a', image: 'a:1' },
        { name: 'b', image: 'b:1' },
      ],
      { replicas: 2 },
    ),
    'me',
    false,
  );
  const second = applyConfiguration(first, deployment([{ name: 'a', image: 'a:2' }]), 'me', false);
  expect(second.spec).toEqual({ template: { spec: { containers: [{ name: 'a', image: 'a:2' }] } } });
});

test('an apply keeps what others manage, and refuses to change it without force', () => {
  const first = applyConfiguration(undefined, deployment([{ name: 'a', image: 'a:1' }], { replicas: 2 }), 'me', false);
  const scaled = structuredClone(first);
  scaled.spec.replicas = 5;
  recordUpdate(first, scaled, 'kubectl-scale');
  const without = applyConfiguration(scaled, deployment([{ name: 'a', image: 'a:1' }]), 'me', false);
  expect(without.spec.replicas).toBe(5);
  expect(() =>
    applyConfiguration(scaled, deployment([{ name: 'a', image: 'a:1' }], { replicas: 2 }), 'me', false),
  ).toThrow('conflict with "kubectl-scale": .spec.replicas');
  const forced = applyConfiguration(scaled, deployment([{ name: 'a', image: 'a:1' }], { replicas: 2 }), 'me', true);
  expect(forced.spec.replicas).toBe(2);
});

test('applying the same again changes nothing', () => {
  const object = deployment([{ name: 'a', image: 'a:1', ports: [{ containerPort: 80 }] }]);
  const first = applyConfiguration(undefined, object, 'me', false);
  expect(applyConfiguration(first, object, 'me', false)).toEqual(first);
});
