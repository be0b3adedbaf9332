/** The proxy of one pod. Settings: proxy/config.ts. */
import { readFileSync } from 'node:fs';
import { accessLogFormats, logLevels } from '../protocol/diagnostics.ts';
import type { AccessLogFormat } from './access-log/format.ts';
import { startAdmin } from './admin.ts';
import { parseConfig, variablePrefix } from './config.ts';
import { createLogger, type LogLevel } from './log.ts';
import { originalDestination } from './net/original-destination.ts';
import { PodProxy } from './pod-proxy.ts';
import { compileBehindRequests } from './process/compile-priority.ts';
import { giveBackMemory } from './process/give-back.ts';
import { Credentials } from './tls/credentials.ts';

const parsed = parseConfig(process.env);
if ('problems' in parsed) {
  for (const problem of parsed.problems) process.stderr.write(`mesh-proxy: ${problem}\n`);
  process.exit(64);
}
const { config } = parsed;
const log = createLogger(config.logLevel);

function fatal(what: string, error: unknown): never {
  log.error(what, { why: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  process.exit(1);
}
process.on('uncaughtException', (error) => fatal('the proxy failed', error));
process.on('unhandledRejection', (error) => fatal('the proxy failed', error));

try {
  compileBehindRequests();
} catch (error) {
  log.warn('compiling may delay requests on a busy node', { why: (error as Error).message });
}

let trustBundle = '';
try {
  trustBundle = readFileSync(config.trustBundleFile, 'utf8');
} catch (error) {
  fatal(`cannot read the trust bundle; the control plane keeps it in every namespace`, error);
}
const credentials = new Credentials(trustBundle);
const proxy = new PodProxy({
  ...{ config, credentials, log, originalDestination },
  traceProgram: new URL('proxy-tracing.js', import.meta.url),
});

const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name.startsWith(variablePrefix)),
) as Record<string, string>;

await startAdmin(
  {
    notReady: () => proxy.notReady(),
    loadMetrics: async () =>
      (await import('./telemetry/metrics.ts')).createMetrics(proxy.telemetry, credentials, proxy.inbound.gates.all),
    state: () => proxy.state(),
    environment,
    settings: {
      '/access-log': {
        allowed: accessLogFormats,
        set: (value, forMs) => proxy.accessLog.set(value as AccessLogFormat, forMs),
      },
      '/log-level': { allowed: logLevels, set: (value, forMs) => proxy.logLevel.set(value as LogLevel, forMs) },
    },
  },
  config.adminPort,
  '0.0.0.0',
).catch((error: unknown) => fatal('cannot listen on the admin port', error));
await proxy.start().catch((error: unknown) => fatal('cannot listen', error));

giveBackMemory(log);

const stop = (signal: string) => {
  log.info('draining', { signal, graceMs: config.gracePeriodMs });
  void proxy.drain().then(() => process.exit(0));
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
