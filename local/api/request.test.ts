import { expect, test } from 'vitest';
import { nameOf } from './request.ts';

const query = (fieldSelector: string) => new URLSearchParams({ fieldSelector });

test('a list or watch of one name is about that object, as RBAC sees it', () => {
  expect(nameOf('', query('metadata.name=mesh-trust-bundle'))).toBe('mesh-trust-bundle');
  expect(nameOf('', query('type=Opaque,metadata.name==one'))).toBe('one');
  expect(nameOf('web', query('metadata.name=other'))).toBe('web');
});

test('any other list is about no one object', () => {
  expect(nameOf('', new URLSearchParams())).toBe('');
  expect(nameOf('', query('metadata.name!=one'))).toBe('');
  expect(nameOf('', query('metadata.namespace=one'))).toBe('');
});
