/** The base layer: Node, nft, the libraries these two are linked with, and the few files a C library reads. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { imageRoot } from '../protocol/names.ts';
import { controlUid, proxyUid } from '../protocol/ports.ts';
import { type Architecture, readElf, strip } from './elf.ts';
import type { Entry } from './tar.ts';

const triplets: Record<Architecture, string> = { amd64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

/** @throws Error where a library is missing or of another machine */
export async function rootFiles(architecture: Architecture, node: string, packages: string): Promise<Entry[]> {
  const triplet = triplets[architecture];
  const program = async (path: string): Promise<Buffer> => {
    const file = await readFile(path);
    const found = readElf(file).architecture;
    if (found !== architecture) throw new Error(`${path} is for ${found}, not for ${architecture}`);
    return file;
  };
  const folders = [`usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib', 'lib', 'lib64'];
  const library = (name: string): Promise<Buffer> => {
    const folder = folders.find((one) => existsSync(join(packages, one, name)));
    if (!folder) throw new Error(`the library ${name} is in none of the packages`);
    return program(join(packages, folder, name));
  };

  const programs = new Map([
    [`${imageRoot.slice(1)}/node`, strip(await program(node))],
    ['usr/sbin/nft', await program(join(packages, 'usr/sbin/nft'))],
  ]);
  const files = new Map(programs);
  const queue = [...programs.values()];
  for (let file = queue.shift(); file; file = queue.shift()) {
    const { interpreter, needed } = readElf(file);
    // The loader goes where programs name it; it looks for libraries in the folder of its triplet without being told.
    if (interpreter && !files.has(interpreter.slice(1))) {
      files.set(interpreter.slice(1), await library(basename(interpreter)));
    }
    for (const name of needed) {
      const path = `usr/lib/${triplet}/${name}`;
      if (files.has(path) || [...files.keys()].some((one) => one.startsWith('lib') && basename(one) === name)) continue;
      const found = await library(name);
      files.set(path, found);
      queue.push(found);
    }
  }
  return [
    ...[...files].map(([path, data]): Entry => ({ path, type: 'file', mode: 0o755, data })),
    text('etc/passwd', passwd),
    text('etc/group', group),
    text('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
    text('etc/ssl/certs/ca-certificates.crt', `${rootCertificates.join('\n')}\n`),
    { path: 'tmp', type: 'folder', mode: 0o1777 },
  ];
}

const users: [name: string, id: number][] = [
  ['root', 0],
  ['mesh-proxy', proxyUid],
  ['mesh-control', controlUid],
  ['nobody', 65534],
];
const passwd = users.map(([name, id]) => `${name}:x:${id}:${id}:${name}:/:/nonexistent\n`).join('');
const group = users.map(([name, id]) => `${name}:x:${id}:\n`).join('');

export function text(path: string, content: string): Entry {
  return { path, type: 'file', mode: 0o644, data: Buffer.from(content) };
}
