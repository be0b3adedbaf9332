/** `/ready`, `/live` and `/metrics` of the control plane. */
import http from 'node:http';
import type { Registry } from 'prom-client';
import type { Metric } from './metrics.ts';

export interface AdminOptions {
  /** What the control plane still waits for; empty when ready. */
  waitingFor: () => string[];
  metrics: Record<string, Metric>;
}

export function createAdminServer(options: AdminOptions): http.Server {
  let registry: Promise<Registry> | undefined;
  const server = http.createServer((request, response) => {
    const answer = (status: number, body: string, type = 'text/plain') =>
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path === '/live') return answer(200, 'live\n');
    if (path === '/ready') {
      const waiting = options.waitingFor();
      return waiting.length === 0
        ? answer(200, 'ready\n')
        : answer(503, `not ready: waiting for ${waiting.join(', ')}\n`);
    }
    if (path !== '/metrics') return answer(404, 'not found: /ready, /live, /metrics\n');
    registry ??= import('./registry.ts').then(({ createRegistry }) => createRegistry(options.metrics));
    registry
      .then(async (loaded) => answer(200, await loaded.metrics(), loaded.contentType))
      .catch((error: Error) => {
        registry = undefined;
        answer(500, `${error.message}\n`);
      });
  });
  server.maxConnections = 100;
  server.headersTimeout = 5_000;
  return server;
}
