/**
 * The admin port. Probes and scrapes reach it from the pod network; what shows more of the pod than its metrics do, or
 * changes something, is for the pod's own loopback: a port-forward ends there, so Kubernetes' rights guard it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { maxSettingSeconds, type ProxyState } from '../protocol/diagnostics.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface AdminOptions {
  /** Why this proxy is not ready; undefined when it is. */
  notReady(): string | undefined;
  loadMetrics(): Promise<Metrics>;
  state(): ProxyState;
  /** Settings as they are; none is secret. */
  environment: Record<string, string>;
  /** By path: what `PUT PATH?value=…&seconds=…` changes for a time. */
  settings: Record<string, AdminSetting>;
}

export interface AdminSetting {
  allowed: readonly string[];
  set(value: string, forMs: number): void;
}

/** Resolves when it listens. */
export function startAdmin(options: AdminOptions, port: number, host: string): Promise<Server> {
  let metrics: Promise<Metrics> | undefined;
  const server = createServer((request, response) => {
    const [path = '/', query] = (request.url ?? '/').split('?', 2);
    if (path === '/live') return answer(response, 200, 'live\n');
    if (path === '/ready') {
      const reason = options.notReady();
      return answer(response, reason ? 503 : 200, `${reason ?? 'ready'}\n`);
    }
    if (path === '/env.json') return answer(response, 200, JSON.stringify(options.environment), 'application/json');
    if (path === '/metrics') {
      metrics ??= options.loadMetrics();
      metrics
        .then(async (loaded) => answer(response, 200, await loaded.text(), loaded.contentType))
        .catch((error: Error) => {
          metrics = undefined;
          answer(response, 500, `${error.message}\n`);
        });
      return;
    }
    const setting = Object.hasOwn(options.settings, path) ? options.settings[path] : undefined;
    if (path !== '/state.json' && !setting) {
      const paths = ['/ready', '/live', '/metrics', '/env.json', '/state.json', ...Object.keys(options.settings)];
      return answer(response, 404, `not found: ${paths.join(', ')}\n`);
    }
    if (!isLoopback(request)) return answer(response, 403, `${path} is for a port-forward: use mesh diagnostics\n`);
    if (setting) return change(setting, new URLSearchParams(query), request, response);
    answer(response, 200, JSON.stringify(options.state()), 'application/json');
  });
  server.maxConnections = 100;
  server.headersTimeout = 5_000;
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve(server));
  });
}

function isLoopback({ socket: { remoteAddress = '' } }: IncomingMessage): boolean {
  return remoteAddress.startsWith('127.') || remoteAddress === '::1';
}

function change(
  setting: AdminSetting,
  parameters: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (request.method !== 'PUT') return answer(response, 405, 'it is changed with PUT\n');
  const value = parameters.get('value') ?? '';
  const text = parameters.get('seconds') ?? '';
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (!setting.allowed.includes(value)) {
    return answer(response, 400, `value "${value}" is not one of ${setting.allowed.join(', ')}\n`);
  }
  if (seconds < 1 || seconds > maxSettingSeconds) {
    return answer(response, 400, `seconds "${text}" is not a number from 1 to ${maxSettingSeconds}\n`);
  }
  setting.set(value, seconds * 1000);
  answer(response, 200, `${value}\n`);
}

function answer(response: ServerResponse, status: number, body: string, type = 'text/plain'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
