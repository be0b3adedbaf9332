/** Where the runtime keeps what belongs to a pod. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface PodFiles {
  /** Pids, records, scripts and logs; gone after a restart of the machine. */
  run: string;
  /** Volumes on disk. */
  volumes: string;
  /** Upper layers of root file systems, on a file system in memory that only the node's mount namespace has: an
   *  overlay refuses an upper layer that lies inside its lower one. */
  scratch: string;
}

export function podFiles(paths: { state: string; run: string }, uid: string): PodFiles {
  return {
    run: join(paths.run, 'pods', uid),
    volumes: join(paths.state, 'volumes', uid),
    scratch: join(paths.run, 'scratch', uid),
  };
}

/** undefined where the file is missing or was cut short. */
export function readRecord<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

/** Writes a file so that readers see the old or the new one, never half. */
export function replaceFile(file: string, content: string | Uint8Array, mode = 0o600): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, content, { mode });
  renameSync(`${file}.new`, file);
}

/** Quotes a word for sh. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
