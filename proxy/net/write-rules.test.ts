import { expect, test, vi } from 'vitest';
import { type NftResult, RulesError, writeRules } from './write-rules.ts';

const skipped = { skipInbound: ['22'], skipOutbound: [] };
const answers = (...results: Partial<NftResult>[]) => {
  const left = [...results];
  return vi.fn((_script: string): NftResult => ({ status: 0, stderr: '', ...left.shift() }));
};
const why = (run: (script: string) => NftResult): string => {
  try {
    writeRules(run, skipped);
  } catch (error) {
    expect(error).toBeInstanceOf(RulesError);
    return `${(error as RulesError).why}: ${(error as Error).message}`;
  }
  return 'written';
};

test('the rules are written once where the kernel has all they take', () => {
  const run = answers({});
  expect(writeRules(run, skipped)).toBeUndefined();
  expect(run).toHaveBeenCalledTimes(1);
  expect(run.mock.calls[0]![0]).toMatch(/tcp dport \{ .*22 \} return[\s\S]*socket transparent/);
});

test('a kernel without nft_socket gets rules without it, and the reason is told', () => {
  const run = answers({ status: 1, stderr: 'No such file or directory\n' }, {});
  expect(writeRules(run, skipped)).toBe('No such file or directory');
  expect(run.mock.calls[1]![0]).not.toContain('socket transparent');
});

test('what cannot be written is told by its cause', () => {
  expect(why(answers({ error: new Error('spawn nft ENOENT'), status: null }))).toBe(
    'missing: cannot run nft (spawn nft ENOENT)',
  );
  expect(why(answers({ status: 1, stderr: 'Operation not permitted' }))).toMatch(/^denied: /);
  expect(why(answers({ status: 1, stderr: 'a' }, { status: 1, stderr: 'b\n' }))).toBe(
    'refused: nft refused the rules: b',
  );
});
