/** Of tests: this machine's Node and nft with the loader and the libraries they run with here, as the image has them. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { pluginPart, pluginScript } from './layout.ts';

/** CommonJS packages inside an ES module bundle still call require(). */
const commonJs =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** Name in the plugin's folder → path. The plugin's bundle is written to `folder`. */
export async function imageOfThisMachine(folder: string, nft: string): Promise<Map<string, string>> {
  await build({
    ...{ entryPoints: { cni: join(import.meta.dirname, 'main.ts') }, outdir: folder },
    ...{ bundle: true, platform: 'node', format: 'esm', define: { MESH_VERSION: '"0"' } },
    ...{ splitting: true, chunkNames: `${pluginPart}[name]-[hash]`, banner: { js: commonJs } },
  });
  const listed = [process.execPath, nft].map((program) => execFileSync('ldd', [program], { encoding: 'utf8' })).join();
  const libraries = [...listed.matchAll(/=> (\/\S+)/g)].map((match) => match[1]!);
  return new Map([
    ['node', process.execPath],
    ['nft', nft],
    ['loader', /^\s*(\/\S*ld-linux\S+) \(/m.exec(listed)![1]!],
    ...readdirSync(folder)
      .filter((name) => name === pluginScript || name.startsWith(pluginPart))
      .map((name): [string, string] => [name, join(folder, name)]),
    ...libraries.map((path): [string, string] => [`lib/${path.split('/').at(-1)}`, path]),
  ]);
}
