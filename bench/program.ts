/** Programs of the benchmarks that run in pods of a local mesh, from this machine's files. */
import path from 'node:path';
import { loadFlags } from '../load/options.ts';

/** The command line of a file of bench/. */
export const program = (file: string, ...args: string[]): string[] => [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  ...loadFlags,
  path.join(import.meta.dirname, file),
  ...args,
];
