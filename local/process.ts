/** Processes by pid and start time: a pid alone may have gone to another process since. */
import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since the start of the machine. */
  start: string;
}

/** Takes pid and start time from the text of /proc/PID/stat; the command may contain spaces and parentheses. */
export function parseStat(stat: string): (ProcessIdentity & { state: string }) | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const pid = Number.parseInt(stat, 10);
  const [state, start] = [fields[0], fields[19]];
  return pid > 0 && state && start ? { pid, start, state } : undefined;
}

/** Identity of a running process; undefined where there is none (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  const parsed = parseStat(stat);
  return parsed && parsed.state !== 'Z' ? { pid: parsed.pid, start: parsed.start } : undefined;
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.start === process.start;
}

/** Sends a signal if that very process still runs; false where it does not. */
export function signal(target: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false;
  try {
    return process.kill(target.pid, name);
  } catch {
    return false;
  }
}

/** Waits until a process has ended; false where it still runs after `timeout` ms. */
export async function ended(target: ProcessIdentity, timeout: number): Promise<boolean> {
  for (const deadline = Date.now() + timeout; Date.now() < deadline; await wait(20)) if (!isAlive(target)) return true;
  return !isAlive(target);
}

/** SIGTERM, and SIGKILL after `grace` ms. */
export async function end(target: ProcessIdentity, grace: number): Promise<void> {
  if (!signal(target, 'SIGTERM') || (await ended(target, grace))) return;
  signal(target, 'SIGKILL');
  await ended(target, 5_000);
}
