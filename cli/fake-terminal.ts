/** Streams that remember what was written, for tests of what a user sees. */
import { PassThrough, Readable } from 'node:stream';
import { Io } from './io.ts';

export interface FakeTerminal {
  io: Io;
  out(): string;
  err(): string;
}

/**
 * No stream is a terminal unless asked for; `env` is all the environment there is. `slowMs`: of `Io`; how long a step
 * takes is the machine's, so by default none is slow.
 */
export function fakeTerminal(
  options: { terminal?: boolean; env?: Record<string, string>; stdin?: string | Buffer; slowMs?: number } = {},
): FakeTerminal {
  const written = { out: '', err: '' };
  const collect = (name: 'out' | 'err') => {
    const stream = new PassThrough().on('data', (chunk) => {
      written[name] += chunk;
    });
    if (!options.terminal) return Object.assign(stream, { isTTY: false });
    // What a terminal's stream has besides, for spinners.
    return Object.assign(stream, {
      isTTY: true,
      columns: 100,
      rows: 40,
      cursorTo: (x: number) => stream.write(`\x1b[${x + 1}G`),
      moveCursor: (_x: number, y: number) => stream.write(`\x1b[${Math.abs(y)}${y < 0 ? 'A' : 'B'}`),
      clearLine: () => stream.write('\x1b[2K'),
    });
  };
  const stdin = Object.assign(Readable.from([options.stdin ?? '']), { isTTY: options.terminal === true });
  const streams = { stdin, stdout: collect('out'), stderr: collect('err'), env: options.env ?? {} };
  const io = new Io(streams, options.slowMs ?? 3_600_000);
  return { io, out: () => written.out, err: () => written.err };
}
