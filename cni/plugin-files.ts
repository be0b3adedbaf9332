/** The plugin on the node: copied from the image, tried, put in place, taken away. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { imageRoot } from '../protocol/names.ts';
import { launcher } from './launcher.ts';
import {
  apiFile,
  imageLibraries,
  pluginCommand,
  pluginName,
  pluginPart,
  pluginScript,
  supportFolder,
} from './layout.ts';
import { errorCode, supportedVersions } from './spec.ts';

const run = promisify(execFile);

/** Name in the plugin's folder → path in the image. */
function imageFiles(): Map<string, string> {
  const { loader, libraries } = imageLibraries();
  return new Map([
    ['node', `${imageRoot}/node`],
    ['nft', '/usr/sbin/nft'],
    ['loader', loader],
    ...readdirSync(imageRoot)
      .filter((name) => name === pluginScript || name.startsWith(pluginPart))
      .map((name): [string, string] => [name, `${imageRoot}/${name}`]),
    ...readdirSync(libraries).map((name): [string, string] => [`lib/${name}`, join(libraries, name)]),
  ]);
}

export class PluginFiles {
  readonly #bin: string;
  readonly #files: ReadonlyMap<string, string>;
  /** By what it is made of: another image gets another folder, and a call that runs keeps its own. */
  readonly #folder: string;

  /** `bin`: the node's folder of CNI binaries, at the same path here as there, since `mesh-cni` names it. */
  constructor(bin: string, files: ReadonlyMap<string, string> = imageFiles()) {
    this.#bin = bin;
    this.#files = files;
    this.#folder = join(this.#support, digest(files));
  }

  get #support(): string {
    return join(this.#bin, supportFolder);
  }

  get #program(): string {
    return join(this.#bin, pluginName);
  }

  get isInPlace(): boolean {
    if (!existsSync(this.#program) || !readFileSync(this.#program).equals(this.#launcher())) return false;
    return [...this.#files].every(([name, source]) => sizeOf(join(this.#folder, name)) === sizeOf(source));
  }

  /** @throws Error where the files cannot be copied, or the plugin does not run from them; then nothing has changed */
  async install(): Promise<void> {
    this.#copy();
    const partial = join(this.#bin, `.${pluginName}.new`);
    writeFileSync(partial, this.#launcher());
    chmodSync(partial, 0o755);
    try {
      await tryOut(partial);
      renameSync(partial, this.#program);
    } finally {
      rmSync(partial, { force: true });
    }
  }

  /** Takes away the folders of other versions: not at once, since calls that began before run from them. */
  removeOthers(): void {
    for (const { name } of this.#versions()) {
      if (name !== basename(this.#folder)) rmSync(join(this.#support, name), { recursive: true, force: true });
    }
  }

  remove(): void {
    rmSync(this.#program, { force: true });
    rmSync(this.#support, { recursive: true, force: true });
  }

  /** Readable by root alone. */
  writeApiAccess(access: object): void {
    const text = JSON.stringify(access);
    const file = join(this.#support, apiFile);
    if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  #versions(): { name: string }[] {
    return readdirSync(this.#support, { withFileTypes: true }).filter((one) => one.isDirectory());
  }

  #copy(): void {
    const partial = `${this.#folder}.partial`;
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(join(partial, 'lib'), { recursive: true, mode: 0o755 });
    for (const [name, source] of this.#files) {
      copyFileSync(source, join(partial, name), constants.COPYFILE_FICLONE);
      chmodSync(join(partial, name), 0o755);
    }
    rmSync(this.#folder, { recursive: true, force: true });
    renameSync(partial, this.#folder);
  }

  #launcher(): Buffer {
    const msg = `mesh: the CNI plugin cannot be started from ${this.#folder}; the DaemonSet mesh-cni puts it back`;
    const cniVersion = supportedVersions.at(-1);
    const error = JSON.stringify({ cniVersion, code: errorCode.internal, msg });
    return launcher(process.arch, pluginCommand(this.#folder), error);
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** Names all files, by what is in them. */
function digest(files: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256');
  for (const [name, source] of [...files].sort()) hash.update(`${name}\0`).update(readFileSync(source));
  return hash.digest('hex').slice(0, 16);
}

/** @throws Error where the plugin does not run here: it must not be what pods wait for then */
async function tryOut(program: string): Promise<void> {
  const cniVersion = supportedVersions.at(-1);
  const call = run(program, { env: { CNI_COMMAND: 'VERSION' }, timeout: 20_000 });
  call.child.stdin!.end(JSON.stringify({ cniVersion }));
  const { stdout } = await call.catch((error) => {
    throw new Error(`the plugin does not run on this node: ${error.stdout || error.stderr || error.message}`);
  });
  if (!JSON.parse(stdout).supportedVersions?.includes(cniVersion))
    throw new Error(`the plugin does not run on this node: it answered ${stdout.trim()}`);
}
