/**
 * Lets requests go before the compiler. Code that has become hot is compiled on V8's worker threads, all of it within the same
 * seconds, tens of milliseconds for one function; on a busy node the requests would wait for a processor meanwhile.
 */
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';

/** A tenth of the processor time of a thread that asks for it at the same time; still enough to get on. */
export const compilerNice = 10;

/** Threads of this process, by the name that Node gives those it compiles on (v24 and later). */
export function compilerThreads(): number[] {
  const threads = readdirSync('/proc/self/task');
  return threads.filter((thread) => nameOf(thread) === 'node-V8Worker').map(Number);
}

function nameOf(thread: string): string | undefined {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
  } catch (error) {
    // It has ended since.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** @throws Error where the system does not let a thread step back */
export function compileBehindRequests(): void {
  // On Linux the priority of a thread is its own, and its number stands where others have a process's.
  for (const thread of compilerThreads()) os.setPriority(thread, compilerNice);
}
