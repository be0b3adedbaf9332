/** What a container uses, from /proc: every process of its pid namespace, and those that ended there. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { ContainerStats } from '../../kube/node-stats.ts';

/** USER_HZ, which is the same on every architecture that Linux has today. */
const ticksPerSecond = 100;

/** undefined where it ended meanwhile, or is not ours to see. */
function ofProcess<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** The processes of each pid namespace. */
function processes(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const namespace = ofProcess(() => readlinkSync(`/proc/${pid}/ns/pid`));
    if (namespace !== undefined) found.set(namespace, [...(found.get(namespace) ?? []), pid]);
  }
  return found;
}

/** Bytes resident, and clock ticks of a process and its children that it waited for. */
function read(pid: string): { ticks: number; bytes: number } | undefined {
  return ofProcess(() => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0;
    return { ticks, bytes: Number(resident) * 1024 };
  });
}

/** `containers`: name → first process. One that does not run is left out. */
export function containerStats(containers: ReadonlyMap<string, number>): ContainerStats[] {
  const all = processes();
  const time = new Date().toISOString();
  return [...containers].flatMap(([name, first]) => {
    const namespace = ofProcess(() => readlinkSync(`/proc/${first}/ns/pid`));
    const used = (all.get(namespace ?? '') ?? []).flatMap((pid) => read(pid) ?? []);
    if (used.length === 0) return [];
    const [ticks, bytes] = used.reduce(([t, b], one) => [t + one.ticks, b + one.bytes], [0, 0]);
    const usageCoreNanoSeconds = (ticks / ticksPerSecond) * 1e9;
    return [{ name, cpu: { time, usageCoreNanoSeconds }, memory: { time, workingSetBytes: bytes } }];
  });
}
