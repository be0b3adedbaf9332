/**
 * The image of the acceptance tests' pods in a cluster: Node and programs of this machine, with what these are linked
 * with and read. On a local mesh the same tests run the same programs without an image.
 */
import { existsSync, globSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { makeImage, makeLayer } from '../../image/oci.ts';
import type { Entry } from '../../image/tar.ts';
import { searchPath } from '../../local/preflight.ts';
import { imageRoot } from '../../protocol/names.ts';
import { clusterImage } from './ground.ts';

const project = join(import.meta.dirname, '../..');

const programs = `
  sh basename cat chmod chown cp cut date dirname echo env false grep head hostname id install kill ln ls mkdir mktemp mv
  pwd rm rmdir sed seq sha256sum sleep sort stat tail test timeout touch tr true uname wc
  curl wrk h2load tcpdump setpriv nginx python3 redis-server redis-cli redis-benchmark
  mariadb mariadbd mariadb-install-db my_print_defaults resolveip
`;
/** What the programs read, and those that are in no search path. */
const data = [
  '/etc/passwd',
  '/etc/group',
  '/etc/services',
  '/usr/lib/postgresql',
  '/usr/share/postgresql',
  '/usr/share/mysql',
  '/usr/share/zoneinfo',
  '/usr/lib/python3.*',
];
const leftOut = /\/(__pycache__|config-3[^/]*|idlelib|lib2to3|ensurepip|pgxs|bitcode)(\/|$)/;
/** Folders of old that lie in /usr now; programs are asked for by either name. */
const merged = ['bin', 'sbin', 'lib', 'lib64'];

class Files {
  readonly entries = new Map<string, Entry>();
  readonly #linked: string[] = [];

  constructor() {
    for (const name of merged) this.entries.set(name, { path: name, type: 'link', mode: 0o777, target: `usr/${name}` });
    this.entries.set('tmp', { path: 'tmp', type: 'folder', mode: 0o1777 });
  }

  /** Adds a file, link or folder of this machine. */
  add(path: string, at = path): void {
    if (leftOut.test(path)) return;
    const found = lstatSync(path);
    if (found.isDirectory()) for (const name of readdirSync(path)) this.add(join(path, name), join(at, name));
    else if (found.isSymbolicLink()) this.#put(at, { type: 'link', mode: 0o777, target: readlinkSync(path) });
    else if (found.isFile()) {
      const content = readFileSync(path);
      this.#put(at, { type: 'file', mode: found.mode & 0o755, data: content });
      if (content.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))) this.#linked.push(path);
    }
  }

  /** Adds the libraries of all that was added. @throws Error naming one that this machine lacks */
  async addLibraries(): Promise<void> {
    // It fails for a program that is linked with none.
    const { stdout } = await execa('ldd', this.#linked, { reject: false });
    const missing = /^\s*(\S+) => not found/m.exec(stdout);
    if (missing) throw new Error(`a program of the test image needs ${missing[1]}, which this machine lacks`);
    for (const [, path] of stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)) this.add(realpathSync(path!), path);
  }

  #put(path: string, entry: Omit<Entry, 'path'>): void {
    const parts = path.split('/').slice(1);
    const place = merged.includes(parts[0]!) ? ['usr', ...parts] : parts;
    this.entries.set(place.join('/'), { path: place.join('/'), ...entry });
  }
}

function locate(program: string): string {
  const found = searchPath()
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((path) => /^\/(usr\/)?s?bin\//.test(path) && existsSync(path));
  if (!found) throw new Error(`the test image needs ${program}, which this machine lacks; npm test installs it`);
  return found;
}

/** Writes the archive and gives its path. */
export async function writeProgramsImage(): Promise<string> {
  const files = new Files();
  for (const program of programs.trim().split(/\s+/)) files.add(realpathSync(locate(program)), locate(program));
  for (const path of data.flatMap((pattern) => globSync(pattern))) files.add(path);
  // On Debian a script in Perl, which looks for the right version, stands in its place.
  files.add(globSync('/usr/lib/postgresql/*/bin/psql').at(-1)!, '/usr/bin/psql');
  files.add(process.execPath, `${imageRoot}/node`);
  files.add(join(project, 'dist/control.js'), `${imageRoot}/control.js`);
  files.add(join(project, 'node_modules/ws'), `${imageRoot}/node_modules/ws`);
  await files.addLibraries();
  const image = makeImage({
    name: clusterImage,
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    layers: [makeLayer([...files.entries.values()], 'programs that tests run', 1)],
    user: '0:0',
    entrypoint: [],
    env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/'],
    labels: { 'org.opencontainers.image.title': 'programs of the acceptance tests' },
  });
  const archive = join(project, 'dist/test-programs-image.tar');
  await writeFile(archive, image.archive);
  process.stdout.write(`${archive}  ${clusterImage}  ${(image.size / 1e6).toFixed(1)} MB\n`);
  return archive;
}
