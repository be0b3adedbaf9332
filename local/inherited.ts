/** Descriptors that a shell or another program has left open for this process. */
import ffi from 'node:ffi';
import { getSystemErrorName } from 'node:util';

/** Keeps them from every program started from now on: one that goes on running would hold pipes of others open, which
 *  then wait for an end that does not come. What a program is given as its own descriptors it still gets. */
export function keepInherited(): void {
  const { functions: libc, lib } = ffi.dlopen(null, {
    syscall: { arguments: ['int64', 'int64', 'int64', 'int64'], return: 'int64' },
    __errno_location: { arguments: [], return: 'pointer' },
  });
  try {
    const [closeRange, first, last, onExec] = [436n, 3n, 0xffffffffn, 4n];
    if (libc.syscall(closeRange, first, last, onExec) === 0n) return;
    throw new Error(`close_range: ${getSystemErrorName(-ffi.getInt32(libc.__errno_location()))}`);
  } finally {
    lib.close();
  }
}
