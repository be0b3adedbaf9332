/** What a process has used: processor time and memory, from /proc. */
import { readFile } from 'node:fs/promises';

export interface Usage {
  /** User and system time so far, seconds. */
  cpu: number;
  /** Bytes: resident, and what the process shares with no other. */
  rss: number;
  private: number;
}

const ticksPerSecond = 100;

export async function usage(pid: number): Promise<Usage> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const memory = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) * 1024;
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    rss: bytes('Rss'),
    private: bytes('Private_Clean') + bytes('Private_Dirty'),
  };
}
