/** The command line: parses, runs one command, and turns what it throws into words and an exit code. */
import { exitCode } from './errors.ts';
import { Io } from './io.ts';
import { buildProgram } from './program.ts';
import { runProgram } from './run.ts';

const abort = new AbortController();
const io = new Io({ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env });

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (abort.signal.aborted) process.exit(exitCode.interrupted);
    abort.abort();
  });
}

const args = process.argv.slice(2);
const { program, context } = buildProgram(io, abort.signal, args[0]);
const code = await runProgram(program, context, args);
// Written out first: a pipe may not have taken everything yet, and open connections must not hold the command.
await Promise.all(
  [process.stdout, process.stderr].map((stream) =>
    stream.destroyed || stream.writableLength === 0 ? undefined : new Promise((resolve) => stream.write('', resolve)),
  ),
);
process.exit(code);
