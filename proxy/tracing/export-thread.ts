/**
 * The thread that sends spans to a collector: OTLP over HTTP by OpenTelemetry's own exporter. It is started where a
 * collector is configured, so that nothing of it is loaded elsewhere, and encoding and waiting take no time of the
 * proxy's. Each batch it is told is answered once.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { otelSpan, resourceOf } from './otel-spans.ts';
import type { ExportResult, ExportSettings, FinishedSpan } from './span.ts';

const { url, source } = workerData as ExportSettings;
const resource = resourceOf(source);
const exporter = new OTLPTraceExporter({ url, timeoutMillis: 10_000, concurrencyLimit: 2 });

parentPort!.on('message', (spans: FinishedSpan[]) => {
  exporter.export(
    spans.map((span) => otelSpan(span, resource)),
    ({ code, error }) => {
      // 0 is success.
      const result: ExportResult = code === 0 ? {} : { error: error?.message ?? 'the collector did not take it' };
      parentPort!.postMessage(result);
    },
  );
});
