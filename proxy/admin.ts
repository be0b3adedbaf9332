/** The admin port: `/ready`, `/live`, `/metrics`, `/env.json`. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Metrics } from './telemetry/metrics.ts';

export interface AdminOptions {
  /** Why this proxy is not ready; undefined when it is. */
  notReady(): string | undefined;
  loadMetrics(): Promise<Metrics>;
  /** Settings as they are; none is secret. */
  environment: Record<string, string>;
}

/** Resolves when it listens. */
export function startAdmin(options: AdminOptions, port: number, host: string): Promise<Server> {
  let metrics: Promise<Metrics> | undefined;
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/live') return answer(response, 200, 'live\n');
    if (path === '/ready') {
      const reason = options.notReady();
      return answer(response, reason ? 503 : 200, `${reason ?? 'ready'}\n`);
    }
    if (path === '/env.json') return answer(response, 200, JSON.stringify(options.environment), 'application/json');
    if (path !== '/metrics') return answer(response, 404, 'not found: /ready, /live, /metrics, /env.json\n');
    metrics ??= options.loadMetrics();
    metrics
      .then(async (loaded) => answer(response, 200, await loaded.text(), loaded.contentType))
      .catch((error: Error) => {
        metrics = undefined;
        answer(response, 500, `${error.message}\n`);
      });
  });
  server.maxConnections = 100;
  server.headersTimeout = 5_000;
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve(server));
  });
}

function answer(response: ServerResponse, status: number, body: string, type = 'text/plain'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
