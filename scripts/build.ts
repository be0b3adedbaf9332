/** Bundles what ships into dist/: the CLI, the proxy, its init and validate steps, the control plane, the CNI plugin, the local mesh, the load generator and the example. */
import { rm } from 'node:fs/promises';
import { build } from 'esbuild';
import { pluginPart } from '../cni/layout.ts';
import packageJson from '../package.json' with { type: 'json' };

const common = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node26',
  outdir: 'dist',
  entryNames: '[name]',
  sourcemap: false,
  minifySyntax: true,
  legalComments: 'none',
  define: { MESH_VERSION: JSON.stringify(packageJson.version) },
  // CommonJS packages inside an ES module bundle still call require().
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
} as const;

/** Name in dist/ → the file it starts from. */
const entries: Record<string, string> = {
  'proxy-tracing': 'proxy/tracing/export-thread.ts',
  init: 'proxy/init.ts',
  validate: 'proxy/validate.ts',
  'cni-agent': 'cni/agent-main.ts',
  daemon: 'local/daemon.ts',
  supervisor: 'local/supervisor.ts',
  images: 'local/images/main.ts',
  become: 'local/runtime/become.ts',
  'node-thread': 'local/network/node-thread-program.ts',
  load: 'load/main.ts',
  shop: 'examples/shop/shop.ts',
};

await rm('dist', { recursive: true, force: true });
await Promise.all([
  build({ ...common, entryPoints: entries }),
  // Each pod holds the proxy's text in memory, and the control plane its own: without comments, and what is loaded on demand
  // apart.
  ...['proxy', 'control'].map((program) =>
    build({
      ...common,
      entryPoints: { [program]: `${program}/main.ts` },
      splitting: true,
      chunkNames: `${program}-[name]-[hash]`,
      minifyWhitespace: true,
    }),
  ),
  // Split, so that the start of a pod waits for no client of the API server, which hardly any node needs.
  build({
    ...common,
    entryPoints: { cni: 'cni/main.ts' },
    splitting: true,
    chunkNames: `${pluginPart}[name]-[hash]`,
    minifyWhitespace: true,
  }),
  // Split, so that a command loads only what it uses: `mesh version` stays under 100 ms.
  build({
    ...common,
    entryPoints: { cli: 'cli/main.ts' },
    splitting: true,
    chunkNames: 'cli-[name]-[hash]',
    // Its ES modules: a CommonJS package imported on demand would come without its names.
    alias: { yaml: './node_modules/yaml/browser/index.js' },
  }),
]);
