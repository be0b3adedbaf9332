import { expect, test } from 'vitest';
import type { Json } from '../../kube/types.ts';
import { merge, useServer } from './test-server.ts';

const { call } = useServer();

const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'birds.example.org' },
  spec: {
    group: 'example.org',
    scope: 'Namespaced',
    names: { plural: 'birds', kind: 'Bird', shortNames: ['bd'] },
    versions: ['v1', 'v2'].map((name) => ({
      name,
      served: true,
      storage: name === 'v1',
      subresources: { status: {}, scale: { specReplicasPath: '.spec.count', statusReplicasPath: '.status.count' } },
      additionalPrinterColumns: [{ name: 'Count', type: 'integer', jsonPath: '.spec.count' }],
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: {
              type: 'object',
              required: ['count'],
              properties: { count: { type: 'integer', maximum: 5 }, color: { type: 'string', default: 'red' } },
            },
            status: { type: 'object', properties: { count: { type: 'integer' } } },
          },
        },
      },
    })),
  },
};
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const birds = '/apis/example.org/v1/namespaces/default/birds';
const bird = (spec: object) => ({ apiVersion: 'example.org/v1', kind: 'Bird', metadata: { name: 'a' }, spec });
test('a definition is established at once; its objects are checked, completed, scaled and shown as it says', async () => {
  const made = (await call('POST', definitions, definition)).lines[0];
  expect(made.status.conditions.map((one: Json) => `${one.type} ${one.status}`)).toEqual([
    'NamesAccepted True',
    'Established True',
  ]);
  const wrong = await call('POST', birds, bird({ count: 'many' }));
  expect([wrong.status, wrong.lines[0].details.causes[0].field]).toEqual([422, 'spec.count']);
  const unknown = await call('POST', `${birds}?fieldValidation=Strict`, bird({ count: 1, typo: 1 }));
  expect([unknown.status, unknown.lines[0].message]).toEqual([400, 'strict decoding error: unknown field "spec.typo"']);
  expect((await call('POST', birds, bird({ count: 1, typo: 1 }))).lines[0].spec).toEqual({ count: 1, color: 'red' });

  await call('PATCH', `${birds}/a`, { status: { count: 3 } }, merge);
  expect((await call('GET', `${birds}/a`)).lines[0].status).toBeUndefined();
  await call('PATCH', `${birds}/a/status`, { status: { count: 3 }, spec: { count: 5 } }, merge);
  const stored = (await call('GET', `${birds}/a`)).lines[0];
  expect([stored.status, stored.spec.count, stored.metadata.generation]).toEqual([{ count: 3 }, 1, 1]);
  await call('PATCH', `${birds}/a/scale`, { spec: { replicas: 4 } }, merge);
  const scale = (await call('GET', `${birds}/a/scale`)).lines[0];
  expect([scale.spec.replicas, scale.status.replicas]).toEqual([4, 3]);

  const table = await call('GET', birds, undefined, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' });
  expect(table.lines[0].rows[0].cells).toEqual(['a', 4]);
  const other = (await call('GET', `${birds.replace('v1', 'v2')}/a`)).lines[0];
  expect(other.apiVersion).toBe('example.org/v2');
  await call('DELETE', `${definitions}/birds.example.org`);
  expect((await call('GET', birds)).status).toBe(404);
  await call('POST', definitions, definition);
  expect((await call('GET', birds)).lines[0].items).toEqual([]);
});
