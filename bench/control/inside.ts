/**
 * The bench runs in a network and a mount namespace of its own: the control plane's ports are fixed, and its service
 * account lies where a pod's does.
 */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

const marker = 'mesh-bench-control';

/** Whether this process is there already: `enter` gave it its title. */
export const inside = (): boolean => process.title === marker;

/** Runs this program there, with the same arguments; resolves with its exit code. */
export async function enter(args: string[]): Promise<number> {
  const own = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const script = 'ip link set lo up && mount -t tmpfs tmpfs "$1" && shift && exec "$@"';
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', `--title=${marker}`];
  const program = [...node, join(import.meta.dirname, 'main.ts'), ...args];
  const unshare = [...own, '--mount', '--net', 'sh', '-c', script, 'sh', realpathSync('/var/run'), ...program];
  const result = await execa('unshare', unshare, { stdio: 'inherit', reject: false });
  if (result.exitCode === undefined)
    throw new Error(`no namespaces of its own (unshare of util-linux): ${result.message}`);
  return result.exitCode;
}
