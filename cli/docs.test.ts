import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { errorTable, exitCode, isErrorCode } from './errors.ts';
import { fakeTerminal } from './fake-terminal.ts';
import { topics } from './help-topics.ts';
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

describe('the documentation', () => {
  it('has a section for every error code, and no other', () => {
    const sections = [...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^## (\S.*)$/gm)];
    expect(sections.map((match) => match[1]).sort()).toEqual(Object.keys(errorTable).sort());
  });

  it('has every code of the local mesh in the table', () => {
    const codes = [
      ...found(['local'], /(?:code[:=]|code =) '([a-z]+-[a-z-]+)'/g),
      ...found(['local'], /(?:LocalMeshError\(|StateError\(|ImageFailure\(|fail\()\s*'([a-z]+(?:-[a-z]+)*)'/g),
      ...found(['local'], /\bcheck\(\s*'([a-z]+(?:-[a-z]+)*)'/g),
      ...found(['local'], /\bid: '([a-z]+(?:-[a-z]+)*)'/g),
    ];
    for (const code of ['state-corrupt', 'busy', 'no-uidmap', 'image-too-large']) expect(codes).toContain(code);
    expect(codes.filter((code) => !isErrorCode(code))).toEqual([]);
  });

  it('has a section for every check, and no other', () => {
    const sections = headings('checks.md');
    const ids = found(['cli/checks'], /\b(?:id: |section: |exists\()'([a-z]+(?:-[a-z]+)*)'/g);
    expect(ids.length).toBeGreaterThan(20);
    expect([...sections].sort()).toEqual(ids);
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

  it('names every variable of the environment, in the help too', () => {
    const own = found(['cli', 'local'], /(?:\benv\.|')(MESH_(?!VERSION|CONTROL_|PROXY_)[A-Z_]+)\b/g);
    const conventions = found(['cli'], /\benv\.([A-Z][A-Z_]+)\b/g);
    const names = [...new Set([...own, ...conventions, 'MESH_NODE'])].filter(
      (name) => name !== 'HOME' && name !== 'UPDATE_GOLDEN',
    );
    expect(names).toEqual(expect.arrayContaining(['MESH_HOME', 'MESH_NAMESPACE', 'NO_COLOR', 'LC_ALL', 'CI']));
    const text = readFileSync(join(root, 'docs/configuration.md'), 'utf8').split('\n## The command line\n')[1]!;
    for (const name of names) {
      expect(text).toContain(name);
      expect(topics.environment).toContain(name);
    }
  });

  it('has every exit code, in the help too', () => {
    const text = readFileSync(join(root, 'docs/cli.md'), 'utf8').split('\n## Exit codes\n')[1]!.split('\n## ')[0]!;
    const listed = [...text.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
    expect(listed).toEqual(Object.values(exitCode));
    const helped = [...topics['exit-codes']!.matchAll(/^ {2}(\d+) /gm)].map((match) => Number(match[1]));
    expect(helped).toEqual(Object.values(exitCode));
  });
});
