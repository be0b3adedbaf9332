/** The client of a kubeconfig, with credentials as kubectl takes them (by @kubernetes/client-node, loaded only here). */
import { readFile } from 'node:fs/promises';
import type { KubeClient } from './client.ts';
import { type ChosenContext, readKubeconfig } from './kubeconfig.ts';
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
  /** HTTPS_PROXY, HTTP_PROXY and NO_PROXY, where the environment has them. */
  proxyEnv?: NodeJS.ProcessEnv;
}

interface Credentials {
  headers: Record<string, string>;
  auth?: string;
  ca?: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
}

/** @throws Error naming the file, context or credential plugin that is wrong */
export async function createConfiguredClient(options: ConfiguredOptions): Promise<KubeClient> {
  const chosen = readKubeconfig(options.files, options.context);
  const { cluster } = chosen;
  const { ca, cert, key } = await credentials(chosen);
  const fixed: Record<string, string | string[]> = {};
  if (options.as) fixed['Impersonate-User'] = options.as;
  if (options.asGroup?.length) fixed['Impersonate-Group'] = options.asGroup;
  const proxyEnv = proxies(cluster.proxyUrl, options.proxyEnv);
  return new RestClient({
    name: chosen.name,
    local: options.local,
    namespace: options.namespace ?? chosen.namespace ?? 'default',
    endpoint: {
      server: cluster.server,
      ...(ca ? { ca } : {}),
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
      ...(cluster.skipTLSVerify ? { insecure: true } : {}),
      ...(cluster.tlsServerName ? { serverName: cluster.tlsServerName } : {}),
      ...(proxyEnv ? { proxyEnv } : {}),
      // Asked for each call: credential plugins and token files renew what they give.
      headers: async () => {
        const { headers, auth } = await credentials(chosen);
        const basic = auth ? { Authorization: `Basic ${Buffer.from(auth).toString('base64')}` } : {};
        return { ...basic, ...headers, ...fixed };
      },
      timeoutMs: options.timeoutMs,
      ...(options.trace ? { trace: options.trace } : {}),
    },
  });
}

async function credentials({ config, plugin, tokenFile }: ChosenContext): Promise<Credentials> {
  const given: Credentials = { headers: {} };
  try {
    await config.applyToHTTPSOptions(given as never);
  } catch (error) {
    if (!plugin) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing ? 'is not installed' : `failed: ${(error as Error).message.trim()}`;
    const hint = missing && plugin.installHint ? ` (${plugin.installHint.trim().replaceAll(/\s+/g, ' ')})` : '';
    throw new Error(`the credential plugin ${plugin.command} ${why}${hint}`, { cause: error });
  }
  if (tokenFile) given.headers.Authorization = `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
  return given;
}

/** `proxy-url` of the cluster, else what the environment says. @throws Error for a kind of proxy that is not spoken */
function proxies(url: string | undefined, env: NodeJS.ProcessEnv | undefined): NodeJS.ProcessEnv | undefined {
  if (url === undefined || url === '') return env;
  if (!/^https?:/.test(url)) throw new Error(`proxy-url ${url} is no http or https proxy`);
  return { HTTP_PROXY: url, HTTPS_PROXY: url };
}
