/** The shell scripts that start a container: a shim that outlives the daemon, and what makes the container's own view. */
import { quote } from './files.ts';

export interface ContainerMount {
  source: string;
  target: string;
  readOnly: boolean;
}

export interface ContainerPlan {
  /** Folder for the overlay's upper layer, work folder and mount point. */
  scratch: string;
  /** Lower layers, topmost first. */
  layers: string[];
  mounts: ContainerMount[];
  argv: string[];
  environment: Record<string, string>;
  workingDirectory: string;
  uid: number;
  gid: number;
  groups: number[];
  /** Capabilities by their kernel names without CAP_, lower case; undefined keeps all of them. */
  capabilities: string[] | undefined;
  noNewPrivileges: boolean;
  readOnlyRoot: boolean;
}

/** What container runtimes leave to a process that asks for nothing. */
export const defaultCapabilities = [
  'chown',
  'dac_override',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'net_bind_service',
  'net_raw',
  'sys_chroot',
  'mknod',
  'audit_write',
  'setfcap',
];

/** Arguments of setpriv for a container's user and rights. */
export function privileges(
  plan: Pick<ContainerPlan, 'uid' | 'gid' | 'groups' | 'capabilities' | 'noNewPrivileges'>,
): string[] {
  const { uid, gid, groups, capabilities } = plan;
  const bounding = capabilities
    ? ['--inh-caps=-all', `--bounding-set=${['-all', ...capabilities.map((one) => `+${one}`)].join(',')}`]
    : [];
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${gid}`,
    groups.length > 0 ? `--groups=${groups.join(',')}` : '--clear-groups',
    ...bounding,
    ...(plan.noNewPrivileges ? ['--no-new-privs'] : []),
    '--',
  ];
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

/** First process of the container: builds the root, gives up rights, becomes the program. Its pid (as the machine
 *  counts) is written just before that, so a pid file means that the program runs. */
export function containerScript(plan: ContainerPlan, base: string): string {
  const root = `${plan.scratch}/root`;
  const binds = plan.mounts.map(
    ({ source, target, readOnly }) => `bind ${quote(source)} ${quote(target)} ${readOnly ? 'ro' : 'rw'}`,
  );
  const environment = Object.entries(plan.environment).map(([key, value]) => quote(`${key}=${value}`));
  const program = [...privileges(plan).map(quote), 'env', '-i', ...environment, ...plan.argv.map(quote)].join(' ');
  return `set -e
read -r stat < /proc/self/stat
exec 3> ${quote(`${base}.pid`)}
root=${quote(root)}
# Follows links as the container will see them: on many machines /var/run leads to /run.
inside() {
  rest=$1; done=
  while [ -n "$rest" ]; do
    part=\${rest%%/*}
    case $rest in */*) rest=\${rest#*/} ;; *) rest= ;; esac
    case $part in ''|.) continue ;; ..) done=\${done%/*}; continue ;; esac
    if [ -L "$root$done/$part" ]; then
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
  mount --bind "$1" "$target"
  [ "$3" = rw ] || mount -o remount,bind,ro "$target"
}
mount -t overlay overlay -o ${quote(`lowerdir=${plan.layers.join(':')},upperdir=${plan.scratch}/upper,workdir=${plan.scratch}/work`)} "$root"
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
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
mkdir -p "$root/etc"
[ ! -L "$root/etc/resolv.conf" ] || rm "$root/etc/resolv.conf"
${binds.join('\n')}
mkdir "$root/.outside"
cd "$root"
pivot_root . .outside
umount -l /.outside
rmdir /.outside
${plan.readOnlyRoot ? 'mount -o remount,bind,ro /' : ''}
cd ${quote(plan.workingDirectory)}
echo "$stat" >&3
exec 3>&-
exec ${program}
`;
}
