/** Streams that remember what was written, for tests of what a user sees. */
import { PassThrough, Readable } from 'node:stream';
import { Io } from './io.ts';

export interface FakeTerminal {
  io: Io;
  out(): string;
  err(): string;
}

/** No stream is a terminal unless asked for; `env` is all the environment there is. */
export function fakeTerminal(
  options: { terminal?: boolean; env?: Record<string, string>; stdin?: string | Buffer } = {},
): FakeTerminal {
  const written = { out: '', err: '' };
  const collect = (name: 'out' | 'err') =>
    Object.assign(new PassThrough(), { isTTY: options.terminal === true }).on('data', (chunk) => {
      written[name] += chunk;
    });
  const stdin = Object.assign(Readable.from([options.stdin ?? '']), { isTTY: options.terminal === true });
  const io = new Io({ stdin, stdout: collect('out'), stderr: collect('err'), env: options.env ?? {} });
  return { io, out: () => written.out, err: () => written.err };
}
