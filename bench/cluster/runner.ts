/** Runs loads in the client's pod, one at a time; each is asked for as in load/serve.ts. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { LoadOptions } from '../../load/options.ts';
import { runPaced } from '../../load/paced.ts';
import { serveLoads } from '../../load/serve.ts';

export type Load = { wrk: string[] } | { paced: LoadOptions };

const run = promisify(execFile);

async function answer(load: Load, signal: AbortSignal): Promise<object> {
  if ('paced' in load) return runPaced(load.paced, signal);
  return { stdout: (await run('/usr/bin/wrk', load.wrk, { signal })).stdout };
}

if (import.meta.main) serveLoads(answer);
