import { expect, test, vi } from 'vitest';
import { chosen, Misuse, orUsage, parseFlags, wholeNumber } from './flags.ts';

const options = { rounds: { type: 'string', default: '2' }, write: { type: 'boolean', default: false } } as const;

test('what is given, and what is not', () => {
  expect({ ...parseFlags({ options, args: ['--rounds', '3'] }) }).toEqual({ rounds: '3', write: false });
});

test.each([['--other'], ['--rounds'], ['--write=1'], ['--rounds', '-1'], ['positional']])(
  '%s is misuse, in one line',
  (...args) => {
    expect(() => parseFlags({ options, args })).toThrow(Misuse);
    expect(() => parseFlags({ options, args })).toThrow(/^[^\n]{5,100}$/);
  },
);

test.each(['0', '-1', '1.5', 'a', ''])('%j is no whole number', (text) => {
  expect(() => wholeNumber('--rounds', text)).toThrow(new Misuse(`--rounds "${text}" is no whole number above 0`));
});

test('names are chosen in whatever case, and strangers told', () => {
  const all = [{ name: 'mesh' }, { name: 'HAProxy' }];
  expect(wholeNumber('--rounds', '12')).toBe(12);
  expect(chosen('--peers', undefined, all)).toEqual(all);
  expect(chosen('--peers', 'haproxy', all)).toEqual([{ name: 'HAProxy' }]);
  expect(() => chosen('--peers', 'mesh,nginx', all)).toThrow(new Misuse('--peers: "nginx" is none of mesh, haproxy'));
});

test('misuse ends the program, with its usage; another error does not', () => {
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const exit = vi.spyOn(process, 'exit').mockImplementation((code) => {
    throw new Error(`exit ${code}`);
  });
  expect(orUsage('npm run this', () => 1)).toBe(1);
  expect(() => orUsage('npm run this', () => wholeNumber('--rounds', 'x'))).toThrow('exit 2');
  expect(said.mock.calls).toEqual([['--rounds "x" is no whole number above 0\nUsage: npm run this\n']]);
  expect(() =>
    orUsage('npm run this', () => {
      throw new Error('other');
    }),
  ).toThrow('other');
  exit.mockRestore();
  said.mockRestore();
});
