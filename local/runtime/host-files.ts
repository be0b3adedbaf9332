/** This machine's files as the root of a container: which folders to lay an overlay over, so that pods change none. */
import { accessSync, constants, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { insideUserNamespace } from '../user-namespace.ts';

/** One overlay of a container's root file system. */
export interface Layers {
  /** Lower folders, topmost first. */
  lower: string[];
  /** Where in the container. */
  target: string;
  mode: number;
  /** Folders (paths within this overlay) made anew on top, so that the container's root may write there. */
  folders: Folder[];
}

export interface Folder {
  path: string;
  mode: number;
}

export interface RootFiles {
  /** In the order to mount them; the first may be `/` itself, else the root is a fresh folder. */
  overlays: Layers[];
  /** Fresh folders between and beside the overlays, parents first. */
  folders: Folder[];
  links: { path: string; target: string }[];
  /** Files beside mounts, shown as they are. */
  files: string[];
}

export interface Mount {
  path: string;
  type: string;
}

/** Mount points and types of /proc/PID/mountinfo. */
export function parseMounts(mountinfo: string): Mount[] {
  return mountinfo
    .split('\n')
    .filter((line) => line.includes(' - '))
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const path = before.split(' ')[4]!.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8)));
      return { path, type: after.split(' ')[0]! };
    });
}

/** File systems that hold programs and data, that an overlay takes as a lower layer, and that never keep one waiting. */
const real = new Set(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'zfs', 'bcachefs', 'virtiofs']);
/** Made anew for each container, or nothing a program runs from: other engines' containers and volumes above all. */
const skipped = [
  ...['/proc', '/sys', '/dev', '/run', '/tmp', '/boot', '/snap', '/var/snap'],
  ...['/var/lib/docker', '/var/lib/containers', '/var/lib/containerd', '/var/lib/kubelet'],
];

const under = (folder: string, path: string): boolean => path.startsWith(folder === '/' ? '/' : `${folder}/`);

/** @param hidden folders that no container sees, e.g. the mesh's own */
export function hostFiles(hidden: string[]): RootFiles {
  const mounts = parseMounts(readFileSync('/proc/self/mountinfo', 'utf8')).filter(
    ({ path }) => path !== '/' && !hidden.some((folder) => path === folder || under(folder, path)),
  );
  return insideUserNamespace() ? piecewise(mounts) : whole(mounts);
}

/** One overlay over `/`, and one over each file system mounted below it. */
function whole(mounts: Mount[]): RootFiles {
  const more = mounts.filter(
    ({ path, type }) => real.has(type) && !skipped.some((folder) => path === folder || under(folder, path)),
  );
  // A file can be a mount point too.
  const folders = [...new Set(more.map(({ path }) => path))].filter((path) => statSync(path).isDirectory()).sort();
  const overlays = ['/', ...folders].map((path) => ({ lower: [path], target: path, mode: 0o755, folders: [] }));
  return { overlays, folders: [], links: [], files: [] };
}

/** In a user namespace no overlay covers a folder with mounts in it, for it would show what lies beneath them: each
 *  folder that has none gets its own. */
function piecewise(mounts: Mount[]): RootFiles {
  const found: RootFiles = { overlays: [], folders: [], links: [], files: [] };
  const at = new Map(mounts.map(({ path, type }) => [path, type]));
  const paths = [...at.keys()];
  const visit = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if (skipped.includes(path)) continue;
      const type = at.get(path);
      // Not even looked at: a network file system may never answer.
      if (type !== undefined && !real.has(type)) {
        found.folders.push({ path, mode: 0o755 });
        continue;
      }
      const entry = lstatSync(path);
      if (entry.isSymbolicLink()) found.links.push({ path, target: readlinkSync(path) });
      else if (entry.isDirectory()) {
        const mode = entry.mode & 0o7777;
        if (!readable(path)) found.folders.push({ path, mode: 0o755 });
        else if (paths.some((one) => under(path, one))) {
          found.folders.push({ path, mode });
          visit(path);
        } else found.overlays.push({ lower: [path], target: path, mode, folders: serviceFolders(path) });
      } else if (entry.isFile() && folder !== '/') found.files.push(path);
    }
  };
  visit('/');
  found.folders.push({ path: '/tmp', mode: 0o1777 }, { path: '/run', mode: 0o755 });
  return found;
}

function readable(folder: string): boolean {
  try {
    accessSync(folder, constants.R_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Folders below /var belong to this machine's root; a container's root is to write to its logs and caches. */
function serviceFolders(top: string, folder = top, depth = 2): Folder[] {
  if (depth === 0 || !(top === '/var' || under('/var', top))) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (!entry.isDirectory() || !readable(path)) return [];
    const mode = lstatSync(path).mode & 0o7777;
    return [{ path: path.slice(top.length), mode }, ...serviceFolders(top, path, depth - 1)];
  });
}
