/**
 * The last step of every container, and of every command run in one: from what the machine's own programs have prepared
 * to the container's program, in this one process. An image need not hold a shell, `setpriv` or anything else but its
 * program, so nothing but this can run between the change of the root and that program.
 * Arguments: `start SPEC`, in the container's new namespaces, with descriptor 3 for the pid; or `enter SPEC PID COMMAND…`.
 */
import ffi from 'node:ffi';
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { capabilityNumbers } from './capabilities.ts';

export interface ProcessSpec {
  /** Mount point of the container's root, as the machine sees it. */
  root: string;
  /** Mounts within it to make read-only. */
  readOnly: string[];
  argv: string[];
  environment: Record<string, string>;
  workingDirectory: string;
  uid: number;
  gid: number;
  groups: number[];
  /** By their kernel names without CAP_, lower case; absent keeps all of them. */
  capabilities?: string[];
  noNewPrivileges: boolean;
}

const { functions: libc } = ffi.dlopen(null, {
  syscall: { arguments: ['int64', 'int64', 'int64', 'int64', 'int64', 'int64'], return: 'int64' },
  umount2: { arguments: ['string', 'int32'], return: 'int32' },
  mount: { arguments: ['string', 'string', 'string', 'uint64', 'pointer'], return: 'int32' },
  setns: { arguments: ['int32', 'int32'], return: 'int32' },
  unshare: { arguments: ['int32'], return: 'int32' },
  prctl: { arguments: ['int32', 'uint64', 'uint64', 'uint64', 'uint64'], return: 'int32' },
  setgroups: { arguments: ['uint64', 'buffer'], return: 'int32' },
  setresgid: { arguments: ['uint32', 'uint32', 'uint32'], return: 'int32' },
  setresuid: { arguments: ['uint32', 'uint32', 'uint32'], return: 'int32' },
  signal: { arguments: ['int32', 'uint64'], return: 'uint64' },
  __errno_location: { arguments: [], return: 'pointer' },
});

function must(result: number | bigint, what: string): void {
  if (Number(result) >= 0) return;
  throw new Error(`${what}: ${getSystemErrorName(-ffi.getInt32(libc.__errno_location()))}`);
}

/** Makes the prepared folder the root, with nothing of the machine's files left to reach. */
function changeRoot(spec: ProcessSpec): void {
  const detach = 2;
  const remountReadOnly = 32n | 4096n | 1n;
  process.chdir(spec.root);
  const here = Buffer.from('.\0');
  const pivotRoot = process.arch === 'arm64' ? 41n : 155n;
  const at = ffi.getRawPointer(here);
  must(libc.syscall(pivotRoot, at, at, 0n, 0n, 0n), 'pivot_root');
  // The old root lies over the new one, at the same place.
  must(libc.umount2('.', detach), 'umount of the old root');
  process.chdir('/');
  for (const path of spec.readOnly) must(libc.mount('none', path, 'none', remountReadOnly, 0n), `read-only ${path}`);
}

/** Enters the mount namespace of a running container. */
function enterMounts(pid: string): void {
  const [files, mounts] = [0x200, 0x20000];
  const space = openSync(`/proc/${pid}/ns/mnt`, 'r');
  // Only a thread that shares its root and working directory with no other may change them.
  must(libc.unshare(files), 'unshare');
  must(libc.setns(space, mounts), 'setns');
  closeSync(space);
}

function giveUpRights(spec: ProcessSpec): void {
  const dropBounding = 24;
  const noNewPrivileges = 38;
  if (spec.capabilities) {
    const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
    const kept = new Set(capabilityNumbers(spec.capabilities));
    for (let one = 0; one <= last; one++)
      if (!kept.has(one)) must(libc.prctl(dropBounding, BigInt(one), 0n, 0n, 0n), 'prctl');
  }
  const groups = Buffer.alloc(Math.max(4, spec.groups.length * 4));
  spec.groups.forEach((group, index) => {
    groups.writeUInt32LE(group, index * 4);
  });
  must(libc.setgroups(BigInt(spec.groups.length), groups), `groups ${spec.groups.join(', ')}`);
  must(libc.setresgid(spec.gid, spec.gid, spec.gid), `group ${spec.gid}`);
  must(libc.setresuid(spec.uid, spec.uid, spec.uid), `user ${spec.uid}`);
  if (spec.noNewPrivileges) must(libc.prctl(noNewPrivileges, 1n, 0n, 0n, 0n), 'prctl');
}

/** What a program would inherit besides: descriptors of whoever started the mesh, and the signals that Node ignores. */
function undoInherited(): void {
  const [kill, stop] = [9, 19];
  for (let signal = 1; signal < 32; signal++) if (signal !== kill && signal !== stop) libc.signal(signal, 0n);
  const [closeRange, first, last, onExec] = [436n, 3n, 0xffffffffn, 4n];
  must(libc.syscall(closeRange, first, last, onExec, 0n, 0n), 'close_range');
}

/** As execvp looks for it; throws with the exit code a shell would give. */
function find(program: string, path: string): string {
  const places = program.includes('/') ? [program] : path.split(':').map((folder) => join(folder || '.', program));
  for (const place of places) {
    if (!statSync(place, { throwIfNoEntry: false })?.isFile()) continue;
    try {
      accessSync(place, constants.X_OK);
      return resolve(place);
    } catch {
      if (program.includes('/')) throw Object.assign(new Error(`${program}: permission denied`), { exit: 126 });
    }
  }
  const where = program.includes('/') ? '' : ` in ${path}`;
  throw Object.assign(new Error(`${program}: not found${where}`), { exit: 127 });
}

function become(): never {
  const [kind, file, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
  const spec = JSON.parse(readFileSync(file, 'utf8')) as ProcessSpec;
  const own = kind === 'start' ? readFileSync('/proc/self/stat', 'latin1') : '';
  if (kind === 'start') changeRoot(spec);
  else enterMounts(rest[0]!);
  if (!statSync(spec.workingDirectory, { throwIfNoEntry: false }))
    mkdirSync(spec.workingDirectory, { recursive: true });
  process.chdir(spec.workingDirectory);
  const argv = kind === 'start' ? spec.argv : rest.slice(1);
  giveUpRights(spec);
  const program = find(argv[0]!, spec.environment.PATH ?? '/usr/bin:/bin');
  if (kind === 'start') {
    writeSync(3, own);
    closeSync(3);
  }
  undoInherited();
  process.execve!(program, argv, spec.environment);
  throw new Error('execve came back');
}

try {
  become();
} catch (error) {
  const { message, exit = 128 } = error as Error & { exit?: number };
  process.stderr.write(`mesh: cannot start the program: ${message}\n`);
  process.exit(exit);
}
