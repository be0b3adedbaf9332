/** Processes of pods as their files record them, for ending what no running daemon knows. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { end, ended, identify, isAlive, type ProcessIdentity, parseStat, signal } from '../process.ts';

/** Every recorded process below a folder: programs, shims, holders. Some may be gone. */
function recordedProcesses(folder: string, kinds = /\.(pid|shim)$|(^|\/)holder\.\d+$/): ProcessIdentity[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap((entry) => {
    if (!kinds.test(entry)) return [];
    try {
      return parseStat(readFileSync(join(folder, entry), 'latin1')) ?? [];
    } catch {
      return []; // removed meanwhile, with its pod
    }
  });
}

/** Each kills all that is there, so a second one meets only what was just being forked. */
const rounds = 5;

/** The host name namespace a process is in, which every process of a pod shares; undefined where it has ended. */
function spaceOf(pid: number | string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/uts`);
  } catch {
    return undefined;
  }
}

/** Every process in one of these namespaces. */
function inside(spaces: ReadonlySet<string>): ProcessIdentity[] {
  return readdirSync('/proc').flatMap((pid) => {
    const space = /^\d/.test(pid) ? spaceOf(pid) : undefined;
    return space !== undefined && spaces.has(space) ? (identify(Number(pid)) ?? []) : [];
  });
}

/**
 * The namespaces of processes, and a way to let go of them: held open, since the number of one that has ended is the next
 * one's at once.
 */
function hold(pids: readonly number[]): { spaces: Set<string>; release(): void } {
  const own = spaceOf('self');
  const files: number[] = [];
  const spaces = new Set<string>();
  for (const pid of pids) {
    try {
      const file = openSync(`/proc/${pid}/ns/uts`, 'r');
      files.push(file);
      spaces.add(readlinkSync(`/proc/self/fd/${file}`));
    } catch {
      // It ended meanwhile.
    }
  }
  if (own !== undefined) spaces.delete(own);
  return { spaces, release: () => files.forEach((file) => void closeSync(file)) };
}

/**
 * Ends every recorded process below a folder, and what else runs in the namespaces of their pods: a container that is
 * just starting has a process that no file tells of yet. Waits until all are gone.
 */
export async function endRecorded(folder: string): Promise<void> {
  const recorded = recordedProcesses(folder).filter(isAlive);
  const { spaces, release } = hold(recorded.map(({ pid }) => pid));
  try {
    // The holders are among the first to go: nothing enters the namespaces after that.
    for (let all = recorded, round = 0; all.length > 0 && round < rounds; all = inside(spaces), round++) {
      for (const found of all) signal(found, 'SIGKILL');
      await Promise.all(all.map((found) => ended(found, 5_000)));
    }
  } finally {
    release();
  }
}

/** SIGTERM to the programs of containers, SIGKILL after `grace` ms. */
export async function endPrograms(folders: string[], grace: number): Promise<void> {
  const programs = folders.flatMap((folder) => recordedProcesses(folder, /\.pid$/));
  await Promise.all(programs.map((program) => end(program, grace)));
}
