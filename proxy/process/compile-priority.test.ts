import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compileBehindRequests, compilerNice, compilerThreads } from './compile-priority.ts';

/** nice of each thread of this process, proc(5) */
function niceness(): Map<number, number> {
  const nice = (thread: string): number => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  };
  return new Map(readdirSync('/proc/self/task').map((thread) => [Number(thread), nice(thread)]));
}

test('only the threads that compile step back', () => {
  const before = niceness();
  const compilers = compilerThreads();
  expect(compilers.length).toBeGreaterThan(0);
  expect(compilers).not.toContain(process.pid);
  compileBehindRequests();
  const after = niceness();
  for (const [thread, nice] of before)
    expect(after.get(thread) ?? nice, String(thread)).toBe(compilers.includes(thread) ? compilerNice : nice);
});
