/**
 * Where the acceptance tests run: on a local mesh of their own (vitest's project `system`), or in the cluster of
 * KUBECONFIG (`cluster`), whose pods have no programs but those of an image (programs-image.ts).
 */
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import packageJson from '../../package.json' with { type: 'json' };
import { imageRoot } from '../../protocol/names.ts';

const root = join(import.meta.dirname, '../..');

export const onCluster = process.env.MESH_TEST_GROUND === 'cluster';

/** Why these tests cannot run here; undefined where they can. */
export const unable = onCluster || process.getuid?.() === 0 ? undefined : 'needs root: network namespaces';
if (unable) process.stderr.write(`acceptance tests skipped: ${unable}\n`);

/** What programs-image.ts makes. */
export const clusterImage = `mesh.dev/test-programs:${packageJson.version}`;
export const programsImage = onCluster ? clusterImage : 'programs:here';

/** Path of Node inside pods. */
export const node = onCluster ? `${imageRoot}/node` : process.execPath;

/** A package of this project, for the scripts of pods to import. */
export function packageUrl(name: string): string {
  const here = import.meta.resolve(name);
  return onCluster ? pathToFileURL(join(imageRoot, relative(root, fileURLToPath(here)))).href : here;
}
