/** The command line: parses, runs one command, and turns what it throws into words and an exit code. */
import { Io } from './io.ts';
import { buildProgram } from './program.ts';
import { runProgram } from './run.ts';

const abort = new AbortController();
const io = new Io({ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env });

process.on('SIGINT', () => {
  if (abort.signal.aborted) process.exit(130);
  io.error('interrupted');
  abort.abort();
});

const { program, context } = buildProgram(io, abort.signal);
const code = await runProgram(program, context, process.argv.slice(2));
// Written out first: a pipe may not have taken everything yet, and open connections must not hold the command.
await Promise.all(
  [process.stdout, process.stderr].map((stream) =>
    io.closed || stream.writableLength === 0 ? undefined : new Promise((resolve) => stream.write('', resolve)),
  ),
);
process.exit(code);
