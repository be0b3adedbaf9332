/** An API server on loopback for each test, and calls to it. */
import https from 'node:https';
import { afterEach, beforeEach } from 'vitest';
import type { Json, KubeObject } from '../../kube/types.ts';
import { ApiServer } from './server.ts';

export interface TestServer {
  /** The one of the running test. */
  readonly api: ApiServer;
  /** One call; the body as its JSON lines. */
  call(
    method: string,
    path: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<{ status: number; lines: Json[] }>;
}

export const maps = '/api/v1/namespaces/default/configmaps';
export const map = (name: string, labels: Record<string, string> = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default', labels },
});
export const merge = { 'content-type': 'application/merge-patch+json' };

export function useServer(): TestServer {
  let api: ApiServer;
  let port: number;
  beforeEach(async () => {
    api = new ApiServer({
      stateFile: ':memory:',
      servicePrefix: '10.96',
      fixedServices: { 'default/kubernetes': '10.96.0.1' },
      names: { dns: ['localhost'], ips: ['127.0.0.1'] },
      log: (message) => process.stderr.write(`${message}\n`),
    });
    await api.bootstrap();
    port = (await api.listen({ host: '127.0.0.1', port: 0 })).port;
  });
  afterEach(() => api.close());
  return {
    get api() {
      return api;
    },
    call: (method, path, body, headers = {}) =>
      new Promise((resolve, reject) => {
        const request = https.request(
          {
            host: '127.0.0.1',
            port,
            path,
            method,
            ca: api.root,
            headers: { authorization: `Bearer ${api.adminToken}`, 'content-type': 'application/json', ...headers },
          },
          (response) => {
            let text = '';
            response.on('data', (chunk: Buffer) => (text += chunk));
            response.on('end', () => {
              const lines = text.split('\n').filter(Boolean);
              resolve({ status: response.statusCode ?? 0, lines: lines.map((line) => JSON.parse(line) as Json) });
            });
          },
        );
        request.on('error', reject);
        request.end(body && JSON.stringify(body));
      }),
  };
}
