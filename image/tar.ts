/** Writes tar archives (POSIX ustar) that depend on their content alone: sorted, with one time, owner and group. */
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface Entry {
  /** Relative, without a trailing slash. */
  path: string;
  type: 'file' | 'folder' | 'link';
  mode: number;
  /** Of a file. */
  data?: Buffer;
  /** Of a symbolic link. */
  target?: string;
}

const block = 512;
const typeFlags = { file: '0', folder: '5', link: '2' };

/** The archive of the entries and of every folder above them. @throws Error for a path that ustar cannot hold */
export function tar(entries: readonly Entry[]): Buffer {
  const all = new Map<string, Entry>();
  for (const entry of entries) {
    const parts = entry.path.split('/').slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth++) {
      const path = parts.slice(0, depth).join('/');
      if (!all.has(path)) all.set(path, { path, type: 'folder', mode: 0o755 });
    }
    all.set(entry.path, entry);
  }
  const sorted = [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  const chunks: Buffer[] = [];
  for (const entry of sorted) {
    chunks.push(header(entry));
    if (!entry.data) continue;
    chunks.push(entry.data, Buffer.alloc((block - (entry.data.length % block)) % block));
  }
  return Buffer.concat([...chunks, Buffer.alloc(2 * block)]);
}

function header(entry: Entry): Buffer {
  const name = entry.type === 'folder' ? `${entry.path}/` : entry.path;
  if (Buffer.byteLength(name) > 100) throw new Error(`the path ${name} is too long for a tar archive`);
  const head = Buffer.alloc(block);
  const octal = (value: number, at: number, size: number) =>
    head.write(`${value.toString(8).padStart(size - 1, '0')}\0`, at, 'latin1');
  head.write(name, 0);
  octal(entry.mode, 100, 8);
  octal(0, 108, 8); // owner
  octal(0, 116, 8); // group
  octal(entry.data?.length ?? 0, 124, 12);
  octal(0, 136, 12); // time
  head.write('        ', 148, 'latin1'); // The sum counts its own field as spaces.
  head.write(typeFlags[entry.type], 156, 'latin1');
  head.write(entry.target ?? '', 157);
  head.write('ustar\0' + '00', 257, 'latin1');
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return head;
}

/** The entries as files of this machine, below a folder. */
export async function writeTree(root: string, entries: readonly Entry[]): Promise<void> {
  for (const entry of entries) {
    const path = join(root, entry.path);
    await mkdir(entry.type === 'folder' ? path : dirname(path), { recursive: true });
    if (entry.type === 'link') await symlink(entry.target!, path);
    else {
      if (entry.type === 'file') await writeFile(path, entry.data!);
      await chmod(path, entry.mode);
    }
  }
}
