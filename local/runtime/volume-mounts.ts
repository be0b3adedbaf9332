/** Which file or folder of this machine each volume mount of a container is. */
import { lstatSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { KubeObject } from '../../kube/types.ts';
import { ConfigError, expand } from './environment.ts';
import type { ContainerMount } from './script.ts';

/** @param source folder or file of a volume, by its name
 *  @throws ConfigError where a subPath leads out of its volume */
export function volumeMounts(
  container: KubeObject,
  environment: Record<string, string>,
  source: (volume: string) => string,
): ContainerMount[] {
  const mounts = (container.volumeMounts ?? []).map((mount: KubeObject) => ({
    source: withSubPath(source(mount.name), subPathOf(mount, environment), mount),
    target: normalize(mount.mountPath),
    readOnly: mount.readOnly === true,
  }));
  // What lies in another mount comes after it, in whatever order they are listed.
  return mounts.sort((a: ContainerMount, b: ContainerMount) => a.target.split('/').length - b.target.split('/').length);
}

function subPathOf(mount: KubeObject, environment: Record<string, string>): string {
  const path: string = mount.subPathExpr ? expand(mount.subPathExpr, environment) : (mount.subPath ?? '');
  if (path.startsWith('/') || path.split('/').includes('..'))
    throw new ConfigError(`volume mount "${mount.name}": subPath "${path}" must stay inside the volume`);
  return path;
}

/** A link that a container has put into its volume must not open this machine's files to it. */
function withSubPath(volume: string, path: string, mount: KubeObject): string {
  if (path === '') return volume;
  const root = realpathSync(volume);
  const wanted = join(root, path);
  if (!lstatSync(wanted, { throwIfNoEntry: false })) {
    const parent = nearestExisting(wanted);
    if (!within(root, realpathSync(parent))) throw outside(mount, path);
    mkdirSync(wanted, { recursive: true, mode: statSync(root).mode & 0o7777 });
  }
  const real = realpathSync(wanted);
  if (!within(root, real)) throw outside(mount, path);
  return real;
}

function nearestExisting(path: string): string {
  let at = path;
  while (!lstatSync(at, { throwIfNoEntry: false })) at = join(at, '..');
  return at;
}

const within = (root: string, path: string): boolean => path === root || path.startsWith(join(root, '/'));

function outside(mount: KubeObject, path: string): ConfigError {
  return new ConfigError(`volume mount "${mount.name}": subPath "${path}" leads out of the volume through a link`);
}
