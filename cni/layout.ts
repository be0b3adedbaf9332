/** Where the plugin lies on a node: `BIN/mesh-cni`, and `BIN/mesh-cni.d/VERSION/` with all that it takes to run. */
import { join } from 'node:path';
import { cniName } from '../protocol/names.ts';

/** In the folder of CNI binaries; by this name network configurations ask for it. */
export const pluginName = cniName;
/** Beside it: one folder for each version, and the way to the API server. */
export const supportFolder = `${cniName}.d`;
export const apiFile = 'api.json';
export const pluginScript = 'cni.js';
/** How the files begin that it loads on demand. */
export const pluginPart = 'cni-part-';

const architectures = {
  x64: { loader: '/lib64/ld-linux-x86-64.so.2', triplet: 'x86_64-linux-gnu' },
  arm64: { loader: '/lib/ld-linux-aarch64.so.1', triplet: 'aarch64-linux-gnu' },
} as const;

/** The loader and the folder of libraries in the mesh's image. @throws Error on a machine that there is no image for */
export function imageLibraries(): { loader: string; libraries: string } {
  const found = architectures[process.arch as keyof typeof architectures];
  if (!found) throw new Error(`there is no image for ${process.arch}`);
  return { loader: found.loader, libraries: `/usr/lib/${found.triplet}` };
}

/**
 * The command that runs a program with the libraries copied beside it, whatever the node has of its own: a node's cache
 * of libraries is not asked.
 */
export function loaded(folder: string, program: string, ...args: string[]): string[] {
  return [join(folder, 'loader'), '--inhibit-cache', '--library-path', join(folder, 'lib'), program, ...args];
}

/** What `mesh-cni` becomes. */
export function pluginCommand(folder: string): string[] {
  return loaded(folder, join(folder, 'node'), '--disable-warning=ExperimentalWarning', join(folder, pluginScript));
}
