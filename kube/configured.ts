/** The client of a kubeconfig, read as kubectl reads it (by @kubernetes/client-node, loaded only here). */
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import type { KubeClient } from './client.ts';
import { RestClient } from './rest-client.ts';

export interface ConfiguredOptions {
  /** Files, in kubectl's order of precedence. */
  files: string[];
  context?: string | undefined;
  namespace?: string | undefined;
  as?: string | undefined;
  asGroup?: string[] | undefined;
  timeoutMs: number;
  /** Told of every request and its outcome. */
  trace?: ((line: string) => void) | undefined;
  /** Whether the files are those of the local mesh. */
  local: boolean;
}

/** @throws Error naming the file or context that is wrong */
export async function createConfiguredClient(options: ConfiguredOptions): Promise<KubeClient> {
  const config = new KubeConfig();
  const [first, ...others] = options.files;
  config.loadFromFile(first!);
  for (const file of others) {
    const more = new KubeConfig();
    more.loadFromFile(file);
    config.mergeConfig(more);
  }
  if (options.context) config.setCurrentContext(options.context);
  const context = config.getContextObject(config.getCurrentContext());
  if (!context) {
    const known = config.getContexts().map((one) => one.name);
    if (!config.getCurrentContext()) throw new Error(`there is no current context in ${options.files.join(', ')}`);
    throw new Error(
      `context "${config.getCurrentContext()}" is not in ${options.files.join(', ')}${known.length > 0 ? `; there are ${known.join(', ')}` : ''}`,
    );
  }
  const cluster = config.getCluster(context.cluster);
  if (!cluster)
    throw new Error(
      `context "${context.name}" names cluster "${context.cluster}", which is not in ${options.files.join(', ')}`,
    );
  const tls: { cert?: string | Buffer; key?: string | Buffer; ca?: string | Buffer; headers?: Record<string, string> } =
    {};
  const applied = { headers: {} as Record<string, string>, ...tls };
  await config.applyToHTTPSOptions(applied as never);
  const fixed: Record<string, string | string[]> = {};
  if (options.as) fixed['Impersonate-User'] = options.as;
  if (options.asGroup?.length) fixed['Impersonate-Group'] = options.asGroup;
  return new RestClient({
    name: context.name,
    local: options.local,
    namespace: options.namespace ?? context.namespace ?? 'default',
    endpoint: {
      server: cluster.server,
      ...(applied.ca ? { ca: applied.ca } : {}),
      ...(applied.cert ? { cert: applied.cert } : {}),
      ...(applied.key ? { key: applied.key } : {}),
      ...(cluster.skipTLSVerify ? { insecure: true } : {}),
      ...(cluster.tlsServerName ? { serverName: cluster.tlsServerName } : {}),
      // Asked for each call: exec plugins and token files renew what they give.
      headers: async () => {
        const fresh = { headers: {} as Record<string, string> };
        await config.applyToHTTPSOptions(fresh as never);
        return { ...fresh.headers, ...fixed };
      },
      timeoutMs: options.timeoutMs,
      ...(options.trace ? { trace: options.trace } : {}),
    },
  });
}
