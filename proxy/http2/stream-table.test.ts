import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StreamTable } from './stream-table.ts';

test('it holds what a Map would, whatever comes and goes in whatever order', () => {
  const step = fc.tuple(fc.constantFrom('add', 'delete', 'get'), fc.integer({ min: 0, max: 80 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), fc.constantFrom(1, 2, 32), (steps, stride) => {
      const table = new StreamTable<{ id: number }>();
      const model = new Map<number, { id: number }>();
      for (const [what, n] of steps) {
        const id = n * stride;
        if (what === 'delete') expect(table.delete(id)).toBe(model.delete(id));
        else if (what === 'add' && !model.has(id)) {
          const stream = { id };
          table.add(stream);
          model.set(id, stream);
        }
        expect(table.get(id)).toBe(model.get(id));
        expect(table.size).toBe(model.size);
      }
      expect(new Set(table.all())).toEqual(new Set(model.values()));
      for (const [id, stream] of model) expect(table.get(id)).toBe(stream);
    }),
  );
});

test('one stream that stays does not make it grow while others pass', () => {
  const table = new StreamTable<{ id: number }>();
  table.add({ id: 1 });
  for (let id = 3; id < 200_001; id += 2) {
    table.add({ id });
    if (id > 21) table.delete(id - 20);
  }
  expect(table.size).toBe(11);
  expect(table.get(1)).toEqual({ id: 1 });
  expect(table.all()).toHaveLength(11);
});
