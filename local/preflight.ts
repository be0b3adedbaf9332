/** What this machine must have for the local mesh to run. */
import { execFile } from 'node:child_process';
import { constants, existsSync, readFileSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { release, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { type IdRange, neededIds, subordinateRanges } from './user-namespace.ts';

export interface PreflightResult {
  id: string;
  ok: boolean;
  message: string;
  fix?: string;
}

/** The machine as the checks see it. */
export interface Machine {
  user: { name: string; uid: number };
  /** As `uname -r` says. */
  kernel: string;
  /** undefined where the file is not there. */
  read: (file: string) => string | undefined;
  has: (program: string) => Promise<boolean>;
  /** Whether a command succeeds. */
  succeeds: (program: string, args: string[]) => Promise<boolean>;
}

const tools = [
  ['nft', 'no-nft', 'nftables'],
  ['ip', 'no-tool', 'iproute2'],
  ['unshare', 'no-tool', 'util-linux'],
  ['nsenter', 'no-tool', 'util-linux'],
  ['mount', 'no-tool', 'mount'],
  ['findmnt', 'no-tool', 'util-linux'],
  ['hostname', 'no-tool', 'hostname'],
] as const;

function check(id: string, ok: boolean, good: string, bad: string, fix: string): PreflightResult {
  return ok ? { id, ok, message: good } : { id, ok, message: bad, fix };
}

/** Every check that fails says how to pass it. */
export async function localPreflight(machine: Machine = thisMachine()): Promise<PreflightResult[]> {
  const root = machine.user.uid === 0;
  const results = root
    ? [{ id: 'no-user-namespaces', ok: true, message: 'running as root' }]
    : [...(await userNamespaces(machine)), ...(await idMapping(machine)), kernelFits(machine)];
  for (const [name, id, from] of tools) {
    const fix = `Install the package ${from}, e.g. \`apt-get install ${from.split(' ')[0]}\`.`;
    results.push(
      check(id, await machine.has(name), `${name} is installed`, `The program ${name} is not installed.`, fix),
    );
  }
  const overlay =
    machine.read('/proc/filesystems')?.includes('overlay') ||
    // An ordinary user's mount loads the module where it is there to be loaded.
    (root
      ? await machine.succeeds('modprobe', ['overlay'])
      : (machine.read(`/lib/modules/${machine.kernel}/modules.dep`)?.includes('/overlay.ko') ?? false));
  const load = 'Load it with `modprobe overlay` as root, or use a kernel that has it.';
  results.push(check('overlay-missing', overlay, 'the kernel has overlayfs', 'The kernel has no overlayfs.', load));
  return results;
}

const orRoot = 'or run mesh with sudo.';

/** Tries it, and where that fails looks for the setting that forbids it. */
async function userNamespaces(machine: Machine): Promise<PreflightResult[]> {
  const id = 'no-user-namespaces';
  if (!(await machine.has('unshare'))) return []; // named among the programs
  const attempt = ['--user', '--map-root-user', '--net', '--mount', '--', 'true'];
  if (await machine.succeeds('unshare', attempt)) {
    return [{ id, ok: true, message: 'running without root, in a user namespace' }];
  }
  const setting = (name: string): string | undefined => machine.read(`/proc/sys/${name}`)?.trim();
  const sysctl = (name: string, value: number): string =>
    `Allow it with \`sudo sysctl -w ${name}=${value}\` (and in /etc/sysctl.d to keep it), ${orRoot}`;
  const because = (message: string, fix: string): PreflightResult[] => [{ id, ok: false, message, fix }];
  const without = 'Without root the local mesh needs user namespaces';
  if (setting('user/max_user_namespaces') === '0') {
    return because(
      `${without}, and this machine allows none (user.max_user_namespaces is 0).`,
      sysctl('user.max_user_namespaces', 15_000),
    );
  }
  if (setting('kernel/unprivileged_userns_clone') === '0') {
    return because(
      `${without}, which here only root may make (kernel.unprivileged_userns_clone is 0).`,
      sysctl('kernel.unprivileged_userns_clone', 1),
    );
  }
  if (setting('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return because(
      `${without}, which AppArmor restricts here (kernel.apparmor_restrict_unprivileged_userns is 1).`,
      sysctl('kernel.apparmor_restrict_unprivileged_userns', 0),
    );
  }
  return because(
    `${without}, and this machine refuses to make one with a network of its own.`,
    `Look at what \`unshare ${attempt.join(' ')}\` says (a container's seccomp filter forbids it, a kernel may lack it), ${orRoot}`,
  );
}

/** Without several ids the proxy could not be told from the application: redirect rules go by user. */
async function idMapping(machine: Machine): Promise<PreflightResult[]> {
  const { user } = machine;
  const missing: string[] = [];
  for (const program of ['newuidmap', 'newgidmap']) if (!(await machine.has(program))) missing.push(program);
  const results = [
    check(
      'no-uidmap',
      missing.length === 0,
      'newuidmap and newgidmap are installed',
      `Without root the local mesh needs ${missing.join(' and ')}, to give a pod's proxy a user of its own.`,
      `Install the package uidmap (on Fedora: shadow-utils), e.g. \`sudo apt-get install uidmap\`, ${orRoot}`,
    ),
  ];
  const enough = (ranges: IdRange[]): boolean => ranges.reduce((sum, one) => sum + one.count, 0) >= neededIds;
  const short = ['subuid', 'subgid'].filter(
    (file) => !enough(subordinateRanges(machine.read(`/etc/${file}`) ?? '', user)),
  );
  // Behind every range that is granted already, so that it is nobody else's.
  const first = Math.max(100_000, ...['subuid', 'subgid'].map((file) => firstFree(machine.read(`/etc/${file}`) ?? '')));
  results.push(
    check(
      'no-subids',
      short.length === 0,
      `user ${user.name} has subordinate ids`,
      `User ${user.name} has no range of ${neededIds + 1} ids in ${short.map((file) => `/etc/${file}`).join(' and ')}, which pods of a mesh without root use as their users.`,
      `Grant one that nobody else has, e.g. \`sudo usermod ${short.map((file) => `--add-${file}s ${first}-${first + neededIds}`).join(' ')} ${user.name}\`, ${orRoot}`,
    ),
  );
  return results;
}

function firstFree(file: string): number {
  const ends = file.split('\n').map((line) => {
    const [, first, count] = line.split(':').map(Number);
    return (first ?? 0) + (count ?? 0);
  });
  return Math.max(0, ...ends.filter(Number.isFinite));
}

/** Overlays in a user namespace came with Linux 5.11. */
function kernelFits({ kernel }: Machine): PreflightResult {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return check(
    'kernel-too-old',
    major > 5 || (major === 5 && minor >= 11),
    `kernel ${kernel} mounts overlays without root`,
    `Kernel ${kernel} mounts overlays for root only; Linux 5.11 was the first to mount them in a user namespace.`,
    `Use a newer kernel, ${orRoot}`,
  );
}

/** Where programs are looked for: an ordinary user's PATH often lacks the folders of nft and ip. */
export function searchPath(path: string = process.env.PATH ?? ''): string {
  const usual = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return [...new Set([...path.split(delimiter).filter((one) => one !== ''), ...usual])].join(delimiter);
}

function thisMachine(): Machine {
  const { username: name, uid } = userInfo();
  const folders = searchPath().split(delimiter);
  return {
    user: { name, uid },
    kernel: release(),
    read: (file) => (existsSync(file) ? readFileSync(file, 'utf8') : undefined),
    has: async (program) => {
      for (const folder of folders) {
        const there = await access(join(folder, program), constants.X_OK).then(
          () => true,
          () => false,
        );
        if (there) return true;
      }
      return false;
    },
    succeeds: (program, args) =>
      promisify(execFile)(program, args, { env: { ...process.env, PATH: searchPath() } }).then(
        () => true,
        () => false,
      ),
  };
}
