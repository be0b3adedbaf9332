/** Of tests: this machine's Node and nft with the loader and the libraries they run with here, as the image has them. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'esbuild';
import { pluginScript } from './layout.ts';

/** Name in the plugin's folder → path. The bundle of the plugin is written to `folder`. */
export async function imageOfThisMachine(folder: string, nft: string): Promise<Map<string, string>> {
  const script = join(folder, pluginScript);
  await build({
    ...{ entryPoints: [join(import.meta.dirname, 'main.ts')], outfile: script },
    ...{ bundle: true, platform: 'node', format: 'esm', define: { MESH_VERSION: '"0"' } },
  });
  const listed = [process.execPath, nft].map((program) => execFileSync('ldd', [program], { encoding: 'utf8' })).join();
  const libraries = [...listed.matchAll(/=> (\/\S+)/g)].map((match) => match[1]!);
  return new Map([
    ['node', process.execPath],
    ['nft', nft],
    ['loader', /^\s*(\/\S*ld-linux\S+) \(/m.exec(listed)![1]!],
    [pluginScript, script],
    ...libraries.map((path): [string, string] => [`lib/${path.split('/').at(-1)}`, path]),
  ]);
}
