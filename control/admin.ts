/** `/ready`, `/live` and `/metrics` of the control plane. */
import http from 'node:http';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

export interface AdminOptions {
  /** What the control plane still waits for; empty when ready. */
  waitingFor: () => string[];
  gauges: Record<string, { help: string; value: () => number }>;
}

export function createAdminServer(options: AdminOptions): http.Server {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const [name, { help, value }] of Object.entries(options.gauges)) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  }
  return http.createServer(async (request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path === '/live') response.end('live\n');
    else if (path === '/ready') {
      const waiting = options.waitingFor();
      response
        .writeHead(waiting.length === 0 ? 200 : 503)
        .end(waiting.length === 0 ? 'ready\n' : `not ready: waiting for ${waiting.join(', ')}\n`);
    } else if (path === '/metrics') {
      response.setHeader('content-type', registry.contentType);
      response.end(await registry.metrics());
    } else response.writeHead(404).end('not found\n');
  });
}
