/** Which cluster a command talks to: the configured one, else the local mesh of this machine; never one for the other. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type KubeClient, KubeError } from '../kube/client.ts';
import { localMeshStatus, localPaths } from '../local/launch.ts';
import type { GlobalOptions } from './context.ts';
import { parseDuration } from './duration.ts';
import { CliError } from './errors.ts';
import type { Io } from './io.ts';
import { sayIfSlow } from './render/status.ts';

/** Milliseconds of --request-timeout. @throws UsageError */
export const requestTimeout = (globals: GlobalOptions): number =>
  parseDuration('--request-timeout', globals.requestTimeout ?? '10s');

/** Kubeconfig files that are configured; empty means the local mesh is meant. */
export function configuredFiles(globals: GlobalOptions, env: Io['env']): string[] {
  if (globals.kubeconfig) {
    if (existsSync(globals.kubeconfig)) return [globals.kubeconfig];
    throw new CliError({
      code: 'kubeconfig-missing',
      message: `The kubeconfig ${globals.kubeconfig} does not exist`,
      fix: 'Name an existing file with --kubeconfig.',
    });
  }
  // As kubectl: of a list, files that are not there are passed over.
  if (env.KUBECONFIG) {
    const files = env.KUBECONFIG.split(delimiter).filter((file) => file !== '');
    const there = files.filter((file) => existsSync(file));
    if (there.length > 0) return there;
    throw new CliError({
      code: 'kubeconfig-missing',
      message: `KUBECONFIG names ${files.join(', ')}, which does not exist`,
    });
  }
  const usual = join(env.HOME || homedir(), '.kube/config');
  return existsSync(usual) ? [usual] : [];
}

/**
 * Whether a cluster is configured: named by a flag or KUBECONFIG, or a usual kubeconfig with anything in it.
 * A file that is empty, as `kubectl config unset` leaves it, configures nothing; a broken one is an error later.
 */
async function meant(files: string[], globals: GlobalOptions, env: Io['env']): Promise<boolean> {
  if (files.length === 0) return false;
  if (globals.kubeconfig || env.KUBECONFIG || globals.context) return true;
  const { readFile } = await import('node:fs/promises');
  const { parseDocument } = await import('yaml');
  // YAML holds JSON too. What cannot be read was meant all the same.
  const text = await readFile(files[0]!, 'utf8').catch(() => undefined);
  if (text === undefined) return true;
  const document = parseDocument(text);
  if (document.errors.length > 0) return true;
  const config: unknown = document.toJS();
  if (config === null || config === undefined) return false;
  if (typeof config !== 'object') return true;
  const { clusters, contexts, 'current-context': current } = config as Record<string, unknown>;
  return [clusters, contexts].some((list) => Array.isArray(list) && list.length > 0) || Boolean(current);
}

/** Whether commands act on the local mesh, running or not. */
export async function isLocal(globals: GlobalOptions, env: Io['env']): Promise<boolean> {
  return !(await meant(configuredFiles(globals, env), globals, env));
}

/** @throws CliError `kubeconfig-missing`, `kubeconfig-invalid`, `cluster-unreachable`, `local-mesh-not-running` */
export async function connectKube(globals: GlobalOptions, io: Io): Promise<KubeClient> {
  const { env } = io;
  const timeoutMs = requestTimeout(globals);
  const configured = configuredFiles(globals, env);
  const paths = localPaths(env);
  const local = !(await meant(configured, globals, env));
  if (local && (await localMeshStatus(paths)) !== 'running') {
    throw new CliError({
      code: 'local-mesh-not-running',
      message: 'No cluster is configured, and the local mesh of this machine does not run',
    });
  }
  const { createConfiguredClient } = await import('../kube/configured.ts');
  const files = local ? [paths.kubeconfig] : configured;
  const kube = await createConfiguredClient({
    files,
    context: globals.context,
    namespace: globals.namespace,
    as: globals.as,
    asGroup: globals.asGroup,
    timeoutMs,
    proxyEnv: proxyEnv(env),
    local: local || files.includes(paths.kubeconfig),
    ...(io.debug ? { trace: (line: string) => io.note(line) } : {}),
  }).catch((error: Error) => {
    throw new CliError({
      code: 'kubeconfig-invalid',
      message: `The kubeconfig cannot be used: ${error.message}`,
      cause: error,
    });
  });
  try {
    io.detail(`Using "${kube.name}" at ${kube.server}, namespace ${kube.namespace}`);
    await sayIfSlow(io, `Waiting for the API server of "${kube.name}" (${kube.server})`, kube.version());
    return kube;
  } catch (error) {
    // Some clusters hide /version from those without rights; they answer, which is all that counts here.
    if (error instanceof KubeError && error.status === 403) return kube;
    kube.close();
    throw toCliError(error, kube);
  }
}

/** As kubectl: names in capitals or small letters, and never a proxy for the local mesh's own address. */
function proxyEnv(env: Io['env']): NodeJS.ProcessEnv {
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name] ?? env[name.toLowerCase()];
      return value ? [[name, value]] : [];
    }),
  );
}

const slow = 'Check the address and the network, or wait longer with --request-timeout 1m.';

/** A failed call in the words of the CLI; anything that is not a KubeError comes back as it is. */
export function toCliError(error: unknown, kube: Pick<KubeClient, 'name' | 'server'>): unknown {
  if (!(error instanceof KubeError)) return error;
  if (error.status === 0) {
    return new CliError({
      code: 'cluster-unreachable',
      message: `Cluster "${kube.name}" cannot be reached: ${error.message}`,
      cause: error,
      ...(error.message.includes('no answer within') ? { fix: slow } : {}),
    });
  }
  if (error.status === 401 || error.status === 403) {
    return new CliError({
      code: error.status === 401 ? 'unauthorized' : 'forbidden',
      message: `Cluster "${kube.name}" refused: ${error.message}`,
      cause: error,
    });
  }
  return new CliError({ code: 'kubernetes-refused', message: `Kubernetes refused: ${error.message}`, cause: error });
}
