/** Where the local mesh keeps its state and its running parts. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface LocalPaths {
  /** What survives a stop of the machine: objects, keys, kubeconfig, images. */
  state: string;
  /** What belongs to running processes: pids, sockets, logs. */
  run: string;
  kubeconfig: string;
}

/** `MESH_HOME` wins; root uses the system's folders, everyone else the XDG ones. */
export function localPaths(env: NodeJS.ProcessEnv, uid: number = process.getuid?.() ?? 0): LocalPaths {
  const at = (state: string, run: string): LocalPaths => ({ state, run, kubeconfig: join(state, 'kubeconfig') });
  if (env.MESH_HOME) return at(join(env.MESH_HOME, 'state'), join(env.MESH_HOME, 'run'));
  if (uid === 0) return at('/var/lib/mesh', '/run/mesh');
  const state = join(env.XDG_DATA_HOME || join(env.HOME || homedir(), '.local/share'), 'mesh');
  return at(state, env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'mesh') : join(state, 'run'));
}
