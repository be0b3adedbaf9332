import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fakeTerminal } from './fake-terminal.ts';
import { buildProgram } from './program.ts';

const root = join(import.meta.dirname, '..');
const headings = (file: string) =>
  new Set([...readFileSync(join(root, 'docs', file), 'utf8').matchAll(/^## (\S.*)$/gm)].map((match) => match[1]!));

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => readFileSync(join(root, folder, name), 'utf8'));
}

/** What `pattern` catches in its first group, over all files of the folders. */
function found(folders: string[], pattern: RegExp): string[] {
  const texts = folders.flatMap(sources);
  return [...new Set(texts.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1]!)))].sort();
}

/** Codes are kebab-case words behind `code:`; Node's own (EPIPE) are not ours. */
const codes = [
  ...found(['cli'], /code:(?: error\.status === 401 \?)? '([a-z]+(?:-[a-z]+)*)'/g),
  ...found(['cli'], /: '(forbidden)'/g),
  ...found(['local'], /(?:code[:=]|code =) '([a-z]+-[a-z-]+)'/g),
  ...found(['local'], /(?:LocalMeshError\(|StateError\(|ImageFailure\(|fail\()\s*'([a-z]+(?:-[a-z]+)*)'/g),
  ...found(['local'], /\bcheck\(\s*'([a-z]+(?:-[a-z]+)*)'/g),
  ...found(['local'], /\bid: '([a-z]+(?:-[a-z]+)*)'/g),
];

describe('the documentation', () => {
  it('finds the codes it is to compare', () => {
    for (const code of ['cluster-unreachable', 'unauthorized', 'forbidden', 'state-corrupt', 'busy', 'no-uidmap']) {
      expect(codes).toContain(code);
    }
  });

  it('has a section for every error code', () => {
    const sections = headings('errors.md');
    expect(codes.filter((code) => !sections.has(code))).toEqual([]);
  });

  it('has a section for every check', () => {
    const sections = headings('checks.md');
    const ids = found(['cli/checks', 'cli/commands'], /\bid: '([a-z]+(?:-[a-z]+)*)'/g);
    expect(ids.length).toBeGreaterThan(5);
    expect(ids.filter((id) => !sections.has(id))).toEqual([]);
  });

  it('names every command and every flag', () => {
    const { program } = buildProgram(fakeTerminal().io, new AbortController().signal);
    const text = readFileSync(join(root, 'docs/cli.md'), 'utf8');
    for (const command of program.commands.filter((one) => !one.name().startsWith('__'))) {
      expect([...headings('cli.md')]).toContain(command.name());
      for (const inner of command.commands) expect(text).toContain(`\`mesh ${command.name()} ${inner.name()}`);
      const section = text.split(`\n## ${command.name()}\n`)[1]!.split('\n## ')[0]!;
      for (const option of [command, ...command.commands].flatMap((one) => one.options)) {
        if (!option.hidden) expect(section, `${command.name()} ${option.long}`).toContain(option.long);
      }
    }
  });
});
