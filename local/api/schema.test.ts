import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { check, fillDefaults, prune } from './schema.ts';

const schema = {
  type: 'object',
  required: ['count'],
  properties: {
    count: { type: 'integer', minimum: 1, maximum: 5 },
    color: { type: 'string', enum: ['red', 'blue'], default: 'red' },
    nick: { type: 'string', maxLength: 3, pattern: '^[a-z]+$' },
    port: { 'x-kubernetes-int-or-string': true },
    tags: { type: 'object', additionalProperties: { type: 'string' } },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    list: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: { type: 'object', properties: { name: { type: 'string' }, size: { type: 'number', default: 1 } } },
    },
    either: { oneOf: [{ required: ['a'] }, { required: ['b'] }], type: 'object', properties: { a: {}, b: {} } },
  },
};

describe('a structural schema', () => {
  it.each([
    [{}, 'count', 'Required value'],
    [{ count: 'x' }, 'count', 'Invalid value: "string": count in body must be of type integer: "string"'],
    [{ count: 0 }, 'count', 'Invalid value: 0: count in body should be greater than or equal to 1'],
    [{ count: 9 }, 'count', 'Invalid value: 9: count in body should be less than or equal to 5'],
    [{ count: 1, color: 'green' }, 'color', 'Unsupported value: "green": supported values: "red", "blue"'],
    [{ count: 1, nick: 'abcd' }, 'nick', 'Invalid value: "abcd": nick in body should be at most 3 chars long'],
    [{ count: 1, nick: 'A' }, 'nick', 'Invalid value: "A": nick in body should match \'^[a-z]+$\''],
    [{ count: 1, port: true }, 'port', 'Invalid value: true: port in body must be of type integer,string: "boolean"'],
    [
      { count: 1, tags: { a: 1 } },
      'tags.a',
      'Invalid value: "integer": tags.a in body must be of type string: "integer"',
    ],
    [{ count: 1, list: [{ name: 'a' }, { name: 'a' }] }, 'list[1]', 'Duplicate value: {"name":"a"}'],
    [
      { count: 1, either: { a: 1, b: 1 } },
      'either',
      'Invalid value: {"a":1,"b":1}: either in body must validate one and only one schema (oneOf)',
    ],
  ])('refuses %j', (value, field, message) => {
    expect(check(schema, value)).toEqual([expect.objectContaining({ field, message })]);
  });

  it('fills in defaults, in lists too', () => {
    const value = { count: 1, list: [{ name: 'a' }] };
    fillDefaults(schema, value);
    expect(value).toEqual({ count: 1, color: 'red', list: [{ name: 'a', size: 1 }] });
  });

  it('takes out what it does not know, and names it', () => {
    const value = {
      kind: 'Bird',
      metadata: { name: 'a' },
      count: 1,
      typo: 2,
      free: { any: 1 },
      list: [{ name: 'a', size: 1, more: 1 }],
      tags: { x: 'y' },
    };
    expect(prune(schema, value)).toEqual(['typo', 'list[0].more']);
    expect(value).toEqual({
      kind: 'Bird',
      metadata: { name: 'a' },
      count: 1,
      free: { any: 1 },
      list: [{ name: 'a', size: 1 }],
      tags: { x: 'y' },
    });
  });

  it('never fails on any JSON, and finds nothing unknown in what it has pruned', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        check(schema, value);
        prune(schema, value);
        fillDefaults(schema, value);
        expect(prune(schema, structuredClone(value))).toEqual([]);
      }),
    );
  });
});
