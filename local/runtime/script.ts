/** The shell scripts that start a container: a shim that outlives the daemon, and what makes the container's own view. */
import { basename, dirname, join } from 'node:path';
import type { ProcessSpec } from './become.ts';
import { quote } from './files.ts';
import type { RootFiles } from './host-files.ts';

export interface ContainerMount {
  source: string;
  target: string;
  readOnly: boolean;
}

export interface ContainerPlan {
  /** Folder for the overlays' upper layers and work folders, and the root's mount point. */
  scratch: string;
  root: RootFiles;
  /** Overlays keep their marks where a user namespace may write them. */
  userXattr: boolean;
  mounts: ContainerMount[];
  process: Omit<ProcessSpec, 'root' | 'readOnly'>;
  readOnlyRoot: boolean;
  /** Empty for this machine's files. */
  imageId: string;
  stopSignal: NodeJS.Signals;
}

/**
 * Runs the container as its child and keeps its exit code in a file. The shell itself leaves its pid namespace without
 * forking, so that its one child is that namespace's first process: unshare --fork would report SIGKILL as exit 1.
 * After that child's end it can fork no more, and its root has moved with the child's: the file for the code is open
 * before.
 */
export function shimScript(base: string): string {
  const run = `exec 2>/dev/null 4> ${quote(`${base}.exit`)}; /bin/sh ${quote(`${base}.sh`)} 2>&1 4>&-; echo $? >&4`;
  return `exec </dev/null
exec unshare --mount --pid --propagation private -- /bin/sh -c ${quote(run)}
`;
}

/** Folders of an overlay of the container, by its place in the list. */
export function overlayFolders(plan: ContainerPlan, index: number): { upper: string; work: string } {
  const folder = join(plan.scratch, `overlay-${index}`);
  return { upper: join(folder, 'upper'), work: join(folder, 'work') };
}

/** The program that ends in the container's own. */
export function becomeCommand(programs: string): string[] {
  return [join(programs, 'node'), '--disable-warning=ExperimentalWarning', join(programs, 'become.js')];
}

function rootMounts(plan: ContainerPlan): string[] {
  const overlays = plan.root.overlays.map(({ lower, target }, index) => {
    const { upper, work } = overlayFolders(plan, index);
    // Short names: a mount takes 4096 characters, and an image may have a hundred layers in one folder.
    const folder = dirname(lower[0]!);
    const short = lower.length > 1 && lower.every((one) => dirname(one) === folder);
    const names = short ? lower.map((one) => basename(one)) : lower;
    const options = `${plan.userXattr ? 'userxattr,' : ''}lowerdir=${names.join(':')},upperdir=${upper},workdir=${work}`;
    const mount = `mount -t overlay overlay -o ${quote(options)} ${quote(join(plan.scratch, 'root', target))}`;
    if (short) return `(cd ${quote(folder)}; ${mount})`;
    // A program that needs none of it can run all the same.
    return target === '/' ? mount : `${mount} || echo ${quote(`mesh: ${target} of this machine is not shown`)} >&2`;
  });
  // A root has to be a mount point.
  const bare = plan.root.overlays[0]?.target === '/' ? [] : ['mount --bind "$root" "$root"'];
  return [...bare, ...overlays, ...plan.root.files.map((file) => `bind ${quote(file)} ${quote(file)} ro`)];
}

/** Mount points of the container's own files, within it. */
function ownMounts(plan: ContainerPlan): string[] {
  return [...new Set(['/', ...plan.root.overlays.map(({ target }) => target)])];
}

/** What the container's process is told to become. */
export function processSpec(plan: ContainerPlan): ProcessSpec {
  const readOnly = plan.readOnlyRoot ? ownMounts(plan) : [];
  return { ...plan.process, root: join(plan.scratch, 'root'), readOnly };
}

/** First process of the container: builds the root, then becomes the program. Its pid (as the machine counts) is written
 *  just before that, so a pid file means that the program runs. */
export function containerScript(plan: ContainerPlan, base: string, programs: string): string {
  const root = `${plan.scratch}/root`;
  const binds = plan.mounts.map(
    ({ source, target, readOnly }) => `bind ${quote(source)} ${quote(target)} ${readOnly ? 'ro' : 'rw'}`,
  );
  const become = becomeCommand(programs).map(quote).join(' ');
  return `set -e
exec 3> ${quote(`${base}.pid`)}
root=${quote(root)}
# Follows links as the container will see them: on many machines /var/run leads to /run.
inside() {
  rest=$1; done=; links=0
  while [ -n "$rest" ]; do
    part=\${rest%%/*}
    case $rest in */*) rest=\${rest#*/} ;; *) rest= ;; esac
    case $part in ''|.) continue ;; ..) done=\${done%/*}; continue ;; esac
    if [ -L "$root$done/$part" ]; then
      links=$((links + 1))
      [ "$links" -le 40 ] || { echo "mesh: too many links in $1" >&2; exit 128; }
      link=$(readlink "$root$done/$part")
      case $link in /*) done= ;; esac
      rest=$link/$rest
    else done=$done/$part; fi
  done
  target=$root$done
}
bind() {
  inside "$2"
  if [ -d "$1" ]; then [ -d "$target" ] || mkdir -p "$target"
  elif [ ! -e "$target" ]; then mkdir -p "\${target%/*}"; : > "$target"; fi
  mount --rbind "$1" "$target"
  [ "$3" = rw ] && return
  # What the machine forbids on this file system (devices, set-user-id) has to stay forbidden.
  flags=$(findmnt -n -o VFS-OPTIONS -T "$target")
  mount -o "remount,bind,ro\${flags#r[ow]}" "$target"
}
${rootMounts(plan).join('\n')}
# A link of the image's would lead out of it.
for folder in proc sys dev; do [ ! -L "$root/$folder" ] || rm "$root/$folder"; done
mkdir -p "$root/proc" "$root/sys" "$root/dev"
inside /tmp
[ -d "$target" ] || { mkdir -p "$target"; chmod 1777 "$target"; }
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o nosuid,mode=755,size=64k tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev,mode=1777 shm "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
inside /etc
mkdir -p "$target"
[ ! -L "$target/resolv.conf" ] || rm "$target/resolv.conf"
${binds.join('\n')}
exec ${become} start ${quote(`${base}.json`)}
`;
}
