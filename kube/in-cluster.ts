/** The client of a pod: its service account's token, read anew as it is renewed. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { KubeClient } from './client.ts';
import type { TroubleListener } from './informer.ts';
import { RestClient } from './rest-client.ts';

const folder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * `onTrouble` hears of watches that do not get on.
 * @throws where this is no pod, or its service account is not mounted
 */
export function createInClusterClient(env: NodeJS.ProcessEnv, onTrouble: TroubleListener): KubeClient {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port)
    throw new Error('not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set');
  return new RestClient({
    name: 'in-cluster',
    local: false,
    onTrouble,
    namespace: readFileSync(`${folder}/namespace`, 'utf8').trim(),
    endpoint: {
      server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
      ca: readFileSync(`${folder}/ca.crt`),
      headers: async () => ({ authorization: `Bearer ${(await readFile(`${folder}/token`, 'utf8')).trim()}` }),
      timeoutMs: 30_000,
    },
  });
}
