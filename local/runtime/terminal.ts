/** Programs with a terminal of their own, for `exec -t`: a pseudo-terminal whose other end is read and written here. */
import { spawn } from 'node:child_process';
import ffi from 'node:ffi';
import { closeSync, constants, openSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import type { ExecSession } from '../objects.ts';

const setWindowSize = 0x5414; // TIOCSWINSZ
const nameLength = 64;

const { functions: libc } = ffi.dlopen(null, {
  posix_openpt: { arguments: ['int32'], return: 'int32' },
  grantpt: { arguments: ['int32'], return: 'int32' },
  unlockpt: { arguments: ['int32'], return: 'int32' },
  ptsname_r: { arguments: ['int32', 'buffer', 'uint64'], return: 'int32' },
  ioctl: { arguments: ['int32', 'uint64', 'buffer'], return: 'int32' },
});

/** Both ends of a new pseudo-terminal. @throws Error where the system has none left */
function openTerminal(): { master: number; slave: number } {
  const master = libc.posix_openpt(constants.O_RDWR | constants.O_NOCTTY);
  if (master < 0) throw new Error('this machine has no pseudo-terminal left');
  const name = Buffer.alloc(nameLength);
  const failed =
    libc.grantpt(master) !== 0 || libc.unlockpt(master) !== 0 || libc.ptsname_r(master, name, BigInt(nameLength)) !== 0;
  if (failed) {
    closeSync(master);
    throw new Error('a pseudo-terminal could not be prepared');
  }
  const path = name.toString('utf8', 0, name.indexOf(0));
  return { master, slave: openSync(path, constants.O_RDWR | constants.O_NOCTTY) };
}

/** Runs a command; `pid` names a process whose numbering of processes the session is to belong to. */
export function runInTerminal(pid: number, argv: string[]): ExecSession {
  const { master, slave } = openTerminal();
  // setsid makes the terminal the controlling one, so that Ctrl-C reaches the program; a shell has to be able to name
  // the session's processes, so it begins where the shell counts.
  const session = ['--target', String(pid), '--pid', '--', 'setsid', '--ctty', '--wait', ...argv];
  const child = spawn('nsenter', session, { stdio: [slave, slave, slave] });
  closeSync(slave);
  const stream = new ReadStream(master);
  const drained = new Promise<void>((resolve) => {
    stream.once('close', resolve);
    // The last program with the terminal has gone: Linux says EIO, not end of file.
    stream.once('error', () => resolve());
  });
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
  return {
    stdin: stream,
    stdout: stream,
    stderr: null,
    exited: Promise.all([exited, drained]).then(([code]) => code),
    kill: () => {
      child.kill('SIGKILL');
      stream.destroy();
    },
    resize: (columns, rows) => {
      const size = Buffer.alloc(8);
      size.writeUInt16LE(rows, 0);
      size.writeUInt16LE(columns, 2);
      if (!stream.destroyed) libc.ioctl(master, BigInt(setWindowSize), size);
    },
  };
}
