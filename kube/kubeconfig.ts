/** Kubeconfig files read and merged as kubectl does it: of two entries with one name, the first file's counts. */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { parse } from 'yaml';

const tokenFileOf = Symbol('tokenFile');

interface Exec {
  command: string;
  apiVersion: string;
  env?: { name: string; value: string }[];
  interactiveMode?: string;
  provideClusterInfo?: boolean;
  installHint?: string;
}

export interface ChosenContext {
  config: KubeConfig;
  name: string;
  namespace: string | undefined;
  cluster: NonNullable<ReturnType<KubeConfig['getCluster']>>;
  tokenFile?: string;
  /** Command of the credential plugin, and how to get it where it is missing. */
  plugin?: { command: string; installHint?: string };
}

/** @throws Error naming the file, context, cluster or user that is wrong */
export function readKubeconfig(files: readonly string[], context?: string): ChosenContext {
  const config = merge(files.map(readFile));
  const where = files.join(', ');
  if (context) config.setCurrentContext(context);
  const name = config.getCurrentContext();
  const found = config.getContextObject(name);
  if (!found) {
    if (!name) throw new Error(`there is no current context in ${where}`);
    const known = config.getContexts().map((one) => one.name);
    const others = known.length > 0 ? `; there are ${known.join(', ')}` : '';
    throw new Error(`context "${name}" is not in ${where}${others}`);
  }
  const cluster = config.getCluster(found.cluster);
  if (!cluster) throw new Error(`context "${name}" names cluster "${found.cluster}", which is not in ${where}`);
  if (found.user && !config.getUser(found.user))
    throw new Error(`context "${name}" names user "${found.user}", which is not in ${where}`);
  // The library takes a server without TLS only where no certificate would be checked either; kubectl takes it as it is.
  if (cluster.server.startsWith('http:')) Object.assign(cluster, { skipTLSVerify: true });
  const exec = config.getCurrentUser()?.exec as Exec | undefined;
  if (exec) tellPlugin(exec, cluster);
  const tokenFile = (config.getCurrentUser() as { [tokenFileOf]?: string } | null)?.[tokenFileOf];
  return {
    config,
    name,
    namespace: found.namespace,
    cluster,
    ...(tokenFile ? { tokenFile } : {}),
    ...(exec
      ? { plugin: { command: exec.command, ...(exec.installHint ? { installHint: exec.installHint } : {}) } }
      : {}),
  };
}

/** What is read of a user besides what the library reads. */
interface RawUser {
  name?: string;
  user?: { tokenFile?: string };
}

function readFile(file: string): KubeConfig {
  const config = new KubeConfig();
  let users: RawUser[];
  try {
    config.loadFromFile(file, { onInvalidEntry: 'throw' as never });
    users = parse(readFileSync(file, 'utf8'))?.users ?? [];
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message.split('\n')[0]}`, { cause: error });
  }
  const beside = (path: string): string => (isAbsolute(path) ? path : join(dirname(file), path));
  for (const user of config.getUsers()) {
    const exec = user.exec as Exec | undefined;
    // A plugin named with a path is looked for beside its file, one without in PATH.
    if (exec?.command.includes('/')) exec.command = beside(exec.command);
    const tokenFile = users.find((one) => one.name === user.name)?.user?.tokenFile;
    // The library looks for it under another name. Of a file and a token the file counts.
    if (tokenFile) Object.assign(user, { token: undefined, [tokenFileOf]: beside(tokenFile) });
  }
  return config;
}

function merge(configs: readonly KubeConfig[]): KubeConfig {
  const first = <T extends { name: string }>(lists: (T[] | undefined)[]): T[] => {
    const entries = new Map<string, T>();
    for (const entry of lists.flatMap((list) => list ?? [])) {
      if (!entries.has(entry.name)) entries.set(entry.name, entry);
    }
    return [...entries.values()];
  };
  const merged = new KubeConfig();
  merged.loadFromOptions({
    clusters: first(configs.map((one) => one.getClusters())),
    users: first(configs.map((one) => one.getUsers())),
    contexts: first(configs.map((one) => one.getContexts())),
    currentContext: configs.map((one) => one.getCurrentContext()).find((name) => name),
  });
  return merged;
}

/** What a credential plugin may ask of who calls it (client.authentication.k8s.io ExecCredential). */
function tellPlugin(exec: Exec, cluster: ChosenContext['cluster']): void {
  if (exec.interactiveMode === 'Always')
    throw new Error(`its credential plugin ${exec.command} needs a terminal (interactiveMode: Always)`);
  const info = {
    apiVersion: exec.apiVersion,
    kind: 'ExecCredential',
    spec: {
      interactive: false,
      ...(exec.provideClusterInfo
        ? {
            cluster: {
              server: cluster.server,
              ...(cluster.caData ? { 'certificate-authority-data': cluster.caData } : {}),
              ...(cluster.tlsServerName ? { 'tls-server-name': cluster.tlsServerName } : {}),
              ...(cluster.skipTLSVerify ? { 'insecure-skip-tls-verify': true } : {}),
            },
          }
        : {}),
    },
  };
  exec.env = [...(exec.env ?? []), { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }];
}
