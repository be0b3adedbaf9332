/**
 * `npm run image`: the image of control plane, proxy and init step, and that of the example shop, as archives in dist/
 * that docker load, ctr images import and kind load image-archive take. Needs no container engine.
 *
 *   npm run image                    for this machine
 *   npm run image -- --arch arm64    for another
 *   npm run image -- --refresh       with the newest packages of the distribution, not those fetched before
 *   npm run image -- --root DIR      the files of the mesh's image into a folder, for image/Dockerfile
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import packageJson from '../package.json' with { type: 'json' };
import { exampleRepository, imageRepository, imageRoot } from '../protocol/names.ts';
import { proxyUid } from '../protocol/ports.ts';
import { baseLayer } from './base-layer.ts';
import type { Architecture } from './elf.ts';
import { makeImage, makeLayer } from './oci.ts';
import { rootFiles } from './root-files.ts';
import { fetchNode, fetchPackages } from './sources.ts';
import { type Entry, writeTree } from './tar.ts';

const own: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const project = join(import.meta.dirname, '..');
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mesh/image');
const { version, description, license } = packageJson;
/** `nobody`: an application that ran as the proxy's user would pass it by, since the redirect rules go by user. */
const applicationUid = 65_534;
const images = [
  {
    ...{ file: 'mesh-image', repository: imageRepository, title: 'mesh', uid: proxyUid },
    programs: ['cni', 'cni-agent', 'control', 'init', 'load', 'proxy', 'validate'],
  },
  {
    ...{ file: 'shop-image', repository: exampleRepository, title: 'mesh example shop', uid: applicationUid },
    programs: ['shop'],
  },
];

/** Programs, each with the parts that it loads on demand. */
async function bundles(programs: readonly string[]): Promise<Entry[]> {
  const built = (await readdir(join(project, 'dist'))).sort();
  const parts = programs.flatMap((program) =>
    built.filter((file) => file === `${program}.js` || (file.startsWith(`${program}-`) && file.endsWith('.js'))),
  );
  return Promise.all(
    [...new Set(parts)].map(async (name) => ({
      path: `${imageRoot.slice(1)}/${name}`,
      type: 'file' as const,
      mode: 0o644,
      data: await readFile(join(project, 'dist', name)),
    })),
  );
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      arch: { type: 'string', default: own },
      refresh: { type: 'boolean', default: false },
      root: { type: 'string' },
    },
  });
  if (flags.arch !== 'amd64' && flags.arch !== 'arm64') {
    throw new Error(`--arch "${flags.arch}" is neither amd64 nor arm64`);
  }
  const architecture: Architecture = flags.arch;
  await execa('node', ['scripts/build.ts'], { cwd: project, stdio: 'inherit' });
  await mkdir(cache, { recursive: true });
  const packages = await fetchPackages(cache, architecture, flags.refresh);
  const node = await fetchNode(cache, architecture, packageJson.optionalDependencies);
  const base = await rootFiles(architecture, node, packages.root);
  if (flags.root) {
    await writeTree(flags.root, [...base, ...(await bundles(images[0]!.programs))]);
    return;
  }
  const baseOfAll = await baseLayer(join(cache, architecture, 'layers'), base);
  for (const { file, repository, title, uid, programs } of images) {
    const image = makeImage({
      name: `${repository}:${version}`,
      architecture,
      layers: [baseOfAll, makeLayer(await bundles(programs), programs.join(', '), 19)],
      user: `${uid}:${uid}`,
      entrypoint: [`${imageRoot}/node`],
      env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
      labels: {
        'org.opencontainers.image.title': title,
        'org.opencontainers.image.description': description,
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': license,
        'dev.mesh.packages': packages.versions.join(' '),
      },
    });
    const path = `dist/${file}${architecture === own ? '' : `-${architecture}`}.tar`;
    await writeFile(join(project, path), image.archive);
    const size = `${(image.size / 1e6).toFixed(1)} MB`;
    process.stdout.write(`${path}  ${repository}:${version}  linux/${architecture}  ${size}  ${image.digest}\n`);
  }
}

main().catch((error: Error) => {
  process.stderr.write(`image: ${error.message}\n`);
  process.exit(1);
});
