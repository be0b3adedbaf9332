/** The image of the pods of `npm run bench:cluster`: nginx, wrk and Node of this machine, with the libraries they need. */
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readElf, strip } from '../../image/elf.ts';
import { makeImage, makeLayer } from '../../image/oci.ts';
import type { Entry } from '../../image/tar.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { nginxConf } from '../nginx.ts';
import { originPort } from '../peers/peer.ts';

export const benchImage = `mesh.dev/bench:${packageJson.version}`;
export const benchArchive = 'dist/bench-image.tar';
export const programs = { node: '/opt/node', nginx: '/usr/sbin/nginx', runner: '/bench/bench/cluster/runner.ts' };
const nobody = 65_534;
const project = join(import.meta.dirname, '../..');

const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
const folders = [`/usr/lib/${triplet}`, `/lib/${triplet}`, '/usr/lib64', '/lib64', '/usr/lib', '/lib'];

export async function writeBenchImage(): Promise<void> {
  const files = new Map([
    [programs.node, strip(await readFile(process.execPath))],
    [programs.nginx, await readFile(programs.nginx)],
    ['/usr/bin/wrk', await readFile('/usr/bin/wrk')],
  ]);
  await addLibraries(files);
  const entries: Entry[] = [...files].map(([path, data]) => ({ path: path.slice(1), type: 'file', mode: 0o755, data }));
  const text = (path: string, data: Buffer | string): Entry => ({
    path,
    type: 'file',
    mode: 0o644,
    data: Buffer.from(data),
  });
  for (const path of await sources()) entries.push(text(`bench/${path}`, await readFile(join(project, path))));
  entries.push(
    text('bench/package.json', '{"type":"module"}'),
    text('bench/nginx.conf', nginxConf([originPort, 'http1'])),
    text('etc/passwd', `nobody:x:${nobody}:${nobody}::/:/none\n`),
    text('etc/group', `nogroup:x:${nobody}:\n`),
    text('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
    { path: 'tmp', type: 'folder', mode: 0o1777 },
    { path: 'var/log/nginx', type: 'folder', mode: 0o1777 },
    { path: 'var/lib/nginx', type: 'folder', mode: 0o1777 },
  );
  const image = makeImage({
    name: benchImage,
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    layers: [makeLayer(entries, 'nginx, wrk and Node', 3)],
    user: `${nobody}:${nobody}`,
    entrypoint: [programs.node],
    env: ['PATH=/usr/sbin:/usr/bin'],
    labels: {},
  });
  await writeFile(benchArchive, image.archive);
}

/** The runner and all that it imports. */
async function sources(): Promise<string[]> {
  const load = (await readdir(join(project, 'load'))).filter((name) => !name.endsWith('.test.ts'));
  return ['bench/cluster/runner.ts', 'protocol/histogram.ts', ...load.map((name) => `load/${name}`)];
}

/** Adds what the programs are linked with, and the loader where they name it. @throws Error for a library not found */
async function addLibraries(files: Map<string, Buffer>): Promise<void> {
  const queue = [...files.values()];
  for (let file = queue.shift(); file; file = queue.shift()) {
    const { interpreter, needed } = readElf(file);
    const loader = interpreter && basename(interpreter);
    if (interpreter && !files.has(interpreter)) files.set(interpreter, await readFile(interpreter));
    for (const name of needed) {
      const path = `/usr/lib/${triplet}/${name}`;
      if (files.has(path) || name === loader) continue;
      const folder = folders.find((one) => existsSync(join(one, name)));
      if (!folder) throw new Error(`the library ${name} is in none of ${folders.join(', ')}`);
      const library = await readFile(join(folder, name));
      files.set(path, library);
      queue.push(library);
    }
  }
}
