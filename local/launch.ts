/** Starting and ending the local mesh, as the CLI does it. Imports little: every command loads this file. */
import type { LocalPaths } from './paths.ts';

export { type LocalPaths, localPaths } from './paths.ts';

/** A start or a stop that cannot go on; the CLI turns it into its own error. */
export class LocalMeshError extends Error {
  /** Stable: no-nft, no-root, no-tool, state-corrupt, port-in-use, overlay-missing, busy, start-failed, start-timeout. */
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string) {
    super(message);
    this.name = 'LocalMeshError';
    this.code = code;
    this.fix = fix;
  }
}

export interface PreflightResult {
  id: string;
  ok: boolean;
  message: string;
  fix?: string;
}

export async function localMeshStatus(_paths: LocalPaths): Promise<'running' | 'stopped' | 'absent'> {
  return 'absent';
}

export async function startLocalMesh(
  _paths: LocalPaths,
  _progress: (step: string) => void,
): Promise<{ kubeconfig: string; alreadyRunning: boolean }> {
  throw new LocalMeshError('start-failed', 'The local mesh cannot start yet.', 'Use a cluster.');
}

export async function stopLocalMesh(_paths: LocalPaths, _progress: (step: string) => void): Promise<void> {}

/** What this machine must have for the local mesh to run. */
export async function localPreflight(): Promise<PreflightResult[]> {
  return [];
}
