/** The binary as a user runs it: its own environment, pipes and terminals, folders that are cleaned up. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { until } from './mesh.ts';

export const root = join(import.meta.dirname, '../..');
export const bin = join(root, 'bin/mesh');

/** What every machine has, for commands that shall find nothing else. */
const basics = ['sh', 'readlink', 'sleep', 'mount'];

export interface RunOptions {
  env?: Record<string, string>;
  input?: string;
  /** Program and first arguments, where it is not the binary. */
  command?: string[];
}

export interface Seen {
  code: number;
  out: string;
  err: string;
}

/** All the environment there is, for a mesh in `home`. */
export function environment(home: string): Record<string, string> {
  return {
    ...{ HOME: home, MESH_HOME: home, KUBECONFIG: '' },
    LANG: 'C.UTF-8',
    TERM: 'xterm',
    PATH: process.env.PATH!,
  };
}

/** Runs the binary to its end; standard input is empty unless given. */
export async function run(args: string[], { env = {}, input = '', command = [bin] }: RunOptions): Promise<Seen> {
  const [program, ...first] = command;
  const done = await execa(program!, [...first, ...args], {
    ...{ env, input, extendEnv: false, reject: false, stripFinalNewline: false, timeout: 60_000 },
  });
  return { code: done.exitCode ?? -1, out: done.stdout, err: done.stderr };
}

/**
 * Runs a shell line on a terminal of its own, 100 columns wide, and presses Ctrl-C once what is on the screen is
 * enough.
 */
export async function interruptOnTerminal(
  line: string,
  env: Record<string, string>,
  enough: (screen: string) => boolean,
): Promise<string> {
  const child = spawn('script', ['-qec', `stty cols 100 rows 30; ${line}`, '/dev/null'], { env });
  let screen = '';
  child.stdout.on('data', (chunk) => {
    screen += chunk;
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until(`enough on the screen of ${line}`, () => enough(screen));
  child.stdin.write('\x03');
  await ended;
  return screen;
}

/** Where a program of this machine is. */
export function where(name: string): string {
  const paths = process.env.PATH!.split(':').map((one) => join(one, name));
  return paths.find((path) => existsSync(path))!;
}

/** Folders of a test file's own, gone when it ends. */
export class Folders {
  readonly #made: string[] = [];

  make(): string {
    this.#made.push(mkdtempSync(join(tmpdir(), 'mesh-cli-')));
    return this.#made.at(-1)!;
  }

  /** One with links to these programs and no others besides what every machine has; scripts are made. */
  programs(names: string[], scripts: Record<string, string> = {}): string {
    const place = this.make();
    for (const name of [...basics, ...names]) symlinkSync(where(name), join(place, name));
    for (const [name, text] of Object.entries(scripts)) {
      writeFileSync(join(place, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(place, name), 0o755);
    }
    return place;
  }

  /** Takes down a mesh that was begun in one of them, too. */
  async remove(): Promise<void> {
    for (const home of this.#made) {
      await run(['uninstall', '--yes', '--force'], { env: environment(home) });
      rmSync(home, { recursive: true, force: true });
    }
  }
}
