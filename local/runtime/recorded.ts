/** Processes of pods as their files record them, for ending what no running daemon knows. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { end, ended, type ProcessIdentity, parseStat, signal } from '../process.ts';

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

/** Ends every recorded process below a folder at once, and waits for it. */
export async function endRecorded(folder: string): Promise<void> {
  const all = recordedProcesses(folder);
  for (const found of all) signal(found, 'SIGKILL');
  await Promise.all(all.map((found) => ended(found, 5_000)));
}

/** SIGTERM to the programs of containers, SIGKILL after `grace` ms. */
export async function endPrograms(folders: string[], grace: number): Promise<void> {
  const programs = folders.flatMap((folder) => recordedProcesses(folder, /\.pid$/));
  await Promise.all(programs.map((program) => end(program, grace)));
}
