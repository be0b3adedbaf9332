/**
 * The user namespace in which everything of a local mesh runs that an ordinary user starts: this user is its root, and
 * the user's subordinate ids are its other users.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Ids beside root that a pod may use: images run as any user up to 65535. */
export const neededIds = 65_535;

export interface IdRange {
  first: number;
  count: number;
}

/** The ranges a file like /etc/subuid grants to a user, who is named there by name or number. */
export function subordinateRanges(file: string, user: { name: string; uid: number }): IdRange[] {
  return file.split('\n').flatMap((line) => {
    const [owner, first, count] = line.trim().split(':');
    if (owner !== user.name && owner !== String(user.uid)) return [];
    const range = { first: Number(first), count: Number(count) };
    return range.first > 0 && range.count > 0 ? [range] : [];
  });
}

/** Arguments of newuidmap or newgidmap: the user becomes 0, the ranges follow from 1. */
export function mapping(own: number, ranges: IdRange[]): string[] {
  let next = 1;
  const lines = [[0, own, 1]];
  for (const { first, count } of ranges) {
    lines.push([next, first, count]);
    next += count;
  }
  return lines.flat().map(String);
}

/** Whether this process is in a user namespace, where root's rights end at what it owns. */
export function insideUserNamespace(map: string = readFileSync('/proc/self/uid_map', 'utf8')): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(map);
}

function readRanges(file: string, user: { name: string; uid: number }): IdRange[] {
  return subordinateRanges(readFileSync(file, 'utf8'), user);
}

export type RootSpawnOptions = Omit<SpawnOptions, 'stdio'> & {
  stdio: ('ignore' | 'pipe' | 'ipc' | 'inherit' | number)[];
};

/**
 * Starts a program as root of a new user namespace; everything else about it (network, files) is this machine's. The
 * program begins once its ids are mapped. `program` and `args` must not rely on stdin.
 */
export async function spawnInUserNamespace(
  program: string,
  args: string[],
  options: RootSpawnOptions,
): Promise<ChildProcess> {
  const { uid, gid, username: name } = userInfo();
  // The shell waits for a line on its stdin: before the ids are mapped, the program would have no rights.
  const child = spawn(
    'unshare',
    ['--user', '--', '/bin/sh', '-c', 'read -r go && exec "$0" "$@" </dev/null', program, ...args],
    { ...options, stdio: ['pipe', ...options.stdio.slice(1)] },
  );
  await once(child, 'spawn');
  const pid = String(child.pid);
  try {
    await mapped(child, async () => {
      const env = options.env ?? process.env;
      await run('newgidmap', [pid, ...mapping(gid, readRanges('/etc/subgid', { name, uid }))], { env });
      await run('newuidmap', [pid, ...mapping(uid, readRanges('/etc/subuid', { name, uid }))], { env });
    });
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  const input = child.stdin as Writable;
  input.on('error', () => {}); // The program ended at once; its exit tells.
  input.end('go\n');
  return child;
}

/** The namespace is there a moment after the process is: until then, mapping is refused or would be this machine's. */
async function mapped(child: ChildProcess, map: () => Promise<void>): Promise<void> {
  const own = readFileSync('/proc/self/uid_map', 'utf8');
  for (const deadline = Date.now() + 5_000; ; await new Promise((resolve) => setTimeout(resolve, 2))) {
    const now = readFileSync(`/proc/${child.pid}/uid_map`, 'utf8');
    if (now !== own) return map();
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('unshare could not make a user namespace');
  }
}
