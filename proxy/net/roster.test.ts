import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Listed, Roster } from './roster.ts';

interface Member extends Listed {
  name: number;
}

function setup() {
  const roster = new Roster<Member>();
  const members = Array.from({ length: 12 }, (_, name): Member => ({ name }));
  const seen = () => {
    const names: number[] = [];
    roster.each(({ name }) => void names.push(name));
    return names.sort((a, b) => a - b);
  };
  return { roster, members, seen };
}

test('it holds what a Set would, whatever comes and goes in whatever order', () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(11)), { maxLength: 60 });
  fc.assert(
    fc.property(steps, (all) => {
      const { roster, members, seen } = setup();
      const model = new Set<number>();
      for (const [comes, name] of all) {
        if (comes) roster.add(members[name]!);
        else roster.delete(members[name]!);
        if (comes) model.add(name);
        else model.delete(name);
        expect(roster.size).toBe(model.size);
        expect(seen()).toEqual([...model].sort((a, b) => a - b));
      }
    }),
  );
});

test('a visit may end its member and others: each that stays is seen, none that went before its turn', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(11)), fc.array(fc.uniqueArray(fc.nat(11)), { maxLength: 12 }), (there, ends) => {
      const { roster, members } = setup();
      for (const name of there) roster.add(members[name]!);
      const gone = new Set<number>();
      const visited = new Set<number>();
      roster.each(({ name }) => {
        expect(gone.has(name)).toBe(false);
        visited.add(name);
        for (const other of ends[name] ?? []) {
          roster.delete(members[other]!);
          gone.add(other);
        }
      });
      for (const name of there) expect(visited.has(name) || gone.has(name)).toBe(true);
    }),
  );
});
