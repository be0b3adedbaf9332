/** System calls for files of images that Node has no function for. */
import ffi from 'node:ffi';
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { insideUserNamespace } from '../user-namespace.ts';

const { functions: libc } = ffi.dlopen(null, {
  mknod: { arguments: ['buffer', 'uint32', 'uint64'], return: 'int32' },
  lsetxattr: { arguments: ['buffer', 'string', 'buffer', 'uint64', 'int32'], return: 'int32' },
  __errno_location: { arguments: [], return: 'pointer' },
});

function must(result: number, call: string): void {
  if (result === 0) return;
  const code = getSystemErrorName(-ffi.getInt32(libc.__errno_location()));
  throw Object.assign(new Error(`${call}: ${code}`), { code });
}

function terminated(path: Buffer): Buffer {
  return Buffer.concat([path, Buffer.alloc(1)]);
}

/** What an overlay takes for "deleted in this layer". */
export function makeWhiteout(path: Buffer): void {
  must(libc.mknod(terminated(path), 0o020000, 0n), 'mknod');
}

export function makeFifo(path: Buffer, mode: number): void {
  must(libc.mknod(terminated(path), 0o010000 | mode, 0n), 'mknod');
}

export function setAttribute(path: Buffer, name: string, value: Buffer): void {
  must(libc.lsetxattr(terminated(path), name, value, BigInt(value.length), 0), `setxattr ${name}`);
}

/** Marks a folder whose content in lower layers is not to be seen. In a user namespace overlays read another name. */
export function makeOpaque(path: Buffer): void {
  setAttribute(path, `${insideUserNamespace() ? 'user' : 'trusted'}.overlay.opaque`, Buffer.from('y'));
}

/** The largest user or group id that files may have here. */
export function largestId(map: string = readFileSync('/proc/self/uid_map', 'utf8')): number {
  const ends = map
    .trim()
    .split('\n')
    .map((line) => {
      const [inside = 0, , count = 0] = line.trim().split(/\s+/).map(Number);
      return inside + count - 1;
    });
  return Math.max(...ends);
}
