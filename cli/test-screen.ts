/** Runs one command as a user would, and compares what is seen with its golden file; UPDATE_GOLDEN=1 writes them anew. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import type { Context } from './context.ts';
import { fakeTerminal } from './fake-terminal.ts';
import { buildProgram } from './program.ts';
import { runProgram } from './run.ts';

const folder = join(import.meta.dirname, '../test/golden/screens');

export interface RunOptions {
  terminal?: boolean;
  env?: Record<string, string>;
  stdin?: string;
  signal?: AbortSignal;
  /** Changes what the command gets, before it runs. */
  change?: (context: Context) => void;
}

export interface Seen {
  code: number;
  out: string;
  err: string;
}

/** One command; `env` is all the environment there is. */
export async function runMesh(args: readonly string[], options: RunOptions = {}): Promise<Seen> {
  const { terminal = false, env = {}, stdin = '' } = options;
  const { io, out, err } = fakeTerminal({ terminal, env, stdin });
  const { program, context } = buildProgram(io, options.signal ?? new AbortController().signal);
  options.change?.(context);
  const code = await runProgram(program, context, args);
  return { code, out: out(), err: err() };
}

/** What was seen, as text that a person can review: escape characters are shown, what differs from run to run is not. */
export function transcript(
  args: readonly string[],
  { code, out, err }: Seen,
  volatile: [string | RegExp, string][] = [],
): string {
  const stable = (text: string): string => {
    let shown = text
      .replaceAll('\x1b', '␛')
      // How often a spinner turned is chance; what it leaves is not.
      .replaceAll(/␛\[\?25l[\s\S]*?␛\[\?25h/g, '<spinner>')
      .replaceAll('\r', '␍')
      .replaceAll(/127\.0\.0\.1:\d{4,5}/g, '127.0.0.1:PORT')
      .replaceAll(/\b\d+\.\d s\b/g, 'N.N s');
    for (const [from, to] of volatile) shown = shown.replaceAll(from, to);
    return shown;
  };
  const section = (name: string, text: string): string => {
    const shown = stable(text);
    return shown === '' ? '' : `--- ${name}\n${shown}`;
  };
  return `$ mesh ${args.map((arg) => stable(arg)).join(' ')}\n${section('stdout', out)}${section('stderr', err)}--- exit ${code}\n`;
}

/** @throws the assertion's error where the file differs from what was seen */
export function expectGolden(name: string, seen: string): void {
  const file = join(folder, `${name}.txt`);
  if (process.env.UPDATE_GOLDEN === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, seen);
  }
  expect(seen).toBe(readFileSync(file, 'utf8'));
}
