/** `/ready`, `/live` and `/metrics` of the control plane. */
import http from 'node:http';
import type { Metric } from './metrics.ts';

export interface AdminOptions {
  /** What the control plane still waits for; empty when ready. */
  waitingFor: () => string[];
  metrics: Record<string, Metric>;
}

/** prom-client is loaded with the first scrape: a control plane that nobody scrapes does not hold it. */
async function createRegistry(metrics: Record<string, Metric>) {
  const { Counter, collectDefaultMetrics, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const [name, { type, help, label, read }] of Object.entries(metrics)) {
    const collect = (metric: {
      reset(): void;
      inc(value: number): void;
      inc(labels: object, value: number): void;
    }): void => {
      metric.reset();
      const value = read();
      if (typeof value === 'number') metric.inc(value);
      else if (label) for (const [of, count] of value ?? []) metric.inc({ [label]: of }, count);
    };
    const options = { name, help, labelNames: label ? [label] : [], registers: [registry] };
    if (type === 'counter') {
      new Counter({
        ...options,
        collect() {
          collect(this);
        },
      });
    } else {
      new Gauge({
        ...options,
        collect() {
          collect(this);
        },
      });
    }
  }
  return registry;
}

export function createAdminServer(options: AdminOptions): http.Server {
  let registry: ReturnType<typeof createRegistry> | undefined;
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
    registry ??= createRegistry(options.metrics);
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
