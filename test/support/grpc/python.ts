/** Python with gRPC, for programs of tests: a virtual environment of its own, made once. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

const version = '1.85.3';
const folder = join(import.meta.dirname, `../../../node_modules/.cache/grpcio-${version}`);

/** Path of the interpreter; undefined, and said, where it cannot be had here. */
export async function grpcPython(): Promise<string | undefined> {
  const python = join(folder, 'bin/python');
  if (existsSync(join(folder, 'complete'))) return python;
  rmSync(folder, { recursive: true, force: true });
  try {
    await execa('python3', ['-m', 'venv', folder]);
    await execa(python, ['-m', 'pip', 'install', '-q', '--only-binary', ':all:', `grpcio==${version}`], {
      timeout: 90_000,
    });
    await execa('touch', [join(folder, 'complete')]);
    return python;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    process.stderr.write(`gRPC in Python is not tested: ${(error as Error).message.split('\n')[0]}\n`);
    return undefined;
  }
}
