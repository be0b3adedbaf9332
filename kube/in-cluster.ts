/** The client of a pod: its service account's token, read anew as it is renewed. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { KubeClient } from './client.ts';
import type { TroubleListener } from './informer.ts';
import { RestClient } from './rest-client.ts';

const folder = '/var/run/secrets/kubernetes.io/serviceaccount';

function serverOf({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port }: NodeJS.ProcessEnv): string {
  if (!host || !port)
    throw new Error('not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set');
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

const tokenNow = async (): Promise<string> => (await readFile(`${folder}/token`, 'utf8')).trim();

/**
 * `onTrouble` hears of watches that do not get on.
 * @throws where this is no pod, or its service account is not mounted
 */
export function createInClusterClient(env: NodeJS.ProcessEnv, onTrouble: TroubleListener): KubeClient {
  return new RestClient({
    name: 'in-cluster',
    local: false,
    onTrouble,
    namespace: readFileSync(`${folder}/namespace`, 'utf8').trim(),
    endpoint: {
      server: serverOf(env),
      ca: readFileSync(`${folder}/ca.crt`),
      headers: async () => ({ authorization: `Bearer ${await tokenNow()}` }),
      timeoutMs: 30_000,
    },
  });
}

/** What another process needs to call the API server as this pod, until the token is renewed. @throws as above */
export async function inClusterAccess(env: NodeJS.ProcessEnv): Promise<{ server: string; ca: string; token: string }> {
  const [ca, token] = await Promise.all([readFile(`${folder}/ca.crt`, 'utf8'), tokenNow()]);
  return { server: serverOf(env), ca, token };
}
