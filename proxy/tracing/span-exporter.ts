/**
 * Hands finished spans to the thread that sends them (export-thread.ts), in batches. Bounded: while a collector does not
 * take them, what does not fit is dropped and counted; a thread that fails is started again.
 */
import { Worker } from 'node:worker_threads';
import type { Logger } from '../log.ts';
import type { ExportResult, ExportSettings, FinishedSpan } from './span.ts';

const batchSpans = 512;
const flushMs = 1_000;
/** Batches that the thread has not answered. */
const maxUnanswered = 2;
const restartMs = 30_000;
/** So that a defect of a library cannot take the pod's memory. */
const heapLimitMb = 64;

export interface SpanExporterOptions extends ExportSettings {
  /** The bundle of export-thread.ts. */
  program: URL;
  log: Logger;
  onDropped(spans: number): void;
  onSent(spans: number): void;
}

export class SpanExporter {
  readonly #options: SpanExporterOptions;
  #worker: Worker | undefined;
  #waiting: FinishedSpan[] = [];
  /** Sizes of the batches that the thread has not answered. */
  #unanswered: number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #restart: NodeJS.Timeout | undefined;
  #closed = false;
  #settled: (() => void) | undefined;

  constructor(options: SpanExporterOptions) {
    this.#options = options;
    this.#start();
  }

  add(span: FinishedSpan): void {
    if (this.#waiting.length >= batchSpans) return this.#options.onDropped(1);
    this.#waiting.push(span);
    if (this.#waiting.length === batchSpans) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), flushMs).unref();
  }

  /** Sends what there is, ends the thread; resolves when that is done, or after so many milliseconds. */
  async close(patienceMs: number): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    this.#flush();
    if (this.#unanswered.length > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#settled = resolve;
      const timer = setTimeout(resolve, patienceMs);
      await promise;
      clearTimeout(timer);
    }
    this.#lose(undefined);
    await this.#worker?.terminate();
  }

  #start(): void {
    const { program, url, source } = this.#options;
    const worker = new Worker(program, {
      workerData: { url, source } satisfies ExportSettings,
      resourceLimits: { maxOldGenerationSizeMb: heapLimitMb },
      env: {},
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    worker.unref();
    worker.on('message', ({ error }: ExportResult) => this.#onAnswer(error));
    worker.on('error', (error: Error) =>
      this.#options.log.warn('the thread that sends spans failed', { why: error.message }),
    );
    worker.on('exit', () => {
      this.#worker = undefined;
      this.#lose('the thread ended');
      if (!this.#closed) this.#restart = setTimeout(() => this.#start(), restartMs).unref();
    });
    this.#worker = worker;
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // What waits is sent with the next answer, or after the thread's restart.
    if (this.#waiting.length === 0 || !this.#worker || this.#unanswered.length >= maxUnanswered) return;
    this.#unanswered.push(this.#waiting.length);
    this.#worker.postMessage(this.#waiting);
    this.#waiting = [];
  }

  #onAnswer(error: string | undefined): void {
    const spans = this.#unanswered.shift() ?? 0;
    if (error === undefined) this.#options.onSent(spans);
    else {
      this.#options.onDropped(spans);
      this.#options.log.warn('spans were lost', { spans, why: error, collector: this.#options.url });
    }
    this.#flush();
    if (this.#unanswered.length === 0) this.#settled?.();
  }

  #lose(why: string | undefined): void {
    let spans = this.#unanswered.reduce((sum, count) => sum + count, 0);
    this.#unanswered = [];
    if (this.#closed) {
      spans += this.#waiting.length;
      this.#waiting = [];
    }
    if (spans === 0) return;
    this.#options.onDropped(spans);
    if (why !== undefined) this.#options.log.warn('spans were lost', { spans, why });
  }
}
