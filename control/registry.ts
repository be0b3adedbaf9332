/**
 * `/metrics`: prom-client's text of what the control plane counts. Loaded with the first scrape: one that nobody scrapes does
 * not hold prom-client.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Metric } from './metrics.ts';

export function createRegistry(metrics: Record<string, Metric>): Registry {
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
