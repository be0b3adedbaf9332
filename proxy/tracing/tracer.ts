/** Tracing as the control plane wants it: the thread that exports runs while a collector is named, and no longer. */
import type { ProxyState } from '../../protocol/diagnostics.ts';
import type { TracingSettings } from '../../protocol/tracing.ts';
import type { Logger } from '../log.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { Trails } from '../trails/trails.ts';
import type { SpanSource } from './span.ts';
import { SpanExporter } from './span-exporter.ts';

/** For the last spans, whether the collector takes them or not. */
const lastSpansMs = 500;

export interface TracerOptions {
  trails: Trails;
  telemetry: Telemetry;
  log: Logger;
  source: SpanSource;
  /** The bundle of export-thread.ts. */
  program: URL;
}

export class Tracer {
  readonly #options: TracerOptions;
  #settings: TracingSettings | null = null;
  #exporter: SpanExporter | undefined;

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  get state(): ProxyState['tracing'] {
    const { spansSent, spansDropped } = this.#options.telemetry;
    return this.#settings && { ...this.#settings, spans_sent: spansSent, spans_dropped: spansDropped };
  }

  /** null: no tracing. Told again with every connection of the control plane. */
  configure(settings: TracingSettings | null): void {
    const { trails, telemetry, log, source, program } = this.#options;
    const before = this.#settings;
    this.#settings = settings;
    if (settings?.endpoint !== before?.endpoint) {
      void this.close();
      if (settings) log.info('requests are traced', { collector: settings.endpoint, ratio: settings.ratio });
      else log.info('requests are traced no more');
    }
    if (!settings) return;
    this.#exporter ??= new SpanExporter({
      ...{ program, source, log },
      url: tracesUrl(settings.endpoint),
      onSent: (spans) => {
        telemetry.spansSent += spans;
      },
      onDropped: (spans) => {
        telemetry.spansDropped += spans;
      },
    });
    const exporter = this.#exporter;
    trails.tracing = { ratio: settings.ratio, send: (span) => exporter.add(span) };
  }

  async close(): Promise<void> {
    this.#options.trails.tracing = undefined;
    const exporter = this.#exporter;
    this.#exporter = undefined;
    await exporter?.close(lastSpansMs);
  }
}

/** OTLP over HTTP names the signal behind the endpoint. */
function tracesUrl(endpoint: string): string {
  return endpoint.endsWith('/v1/traces') ? endpoint : `${endpoint.replace(/\/$/, '')}/v1/traces`;
}
