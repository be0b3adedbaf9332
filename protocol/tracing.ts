/** What tracing is set up with: by `mesh install`, read by the control plane, told to proxies. */

export interface TracingSettings {
  /** OTLP over HTTP: `http://collector.observability:4318`. */
  endpoint: string;
  /** Of traces that begin in the mesh, the share that is sampled: 0 to 1. What callers have decided stands. */
  ratio: number;
}

/** A hundredth shows what is slow, and no collector drowns in it. */
export const defaultTraceRatio = '0.01';

/** An http or https address without credentials, query or fragment. */
export function isOtlpEndpoint(text: string): boolean {
  const url = URL.parse(text);
  if (!url || !['http:', 'https:'].includes(url.protocol)) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}

/** A number from 0 to 1. */
export function isTraceRatio(text: string): boolean {
  return /^(0|1|0?\.\d+|1\.0+)$/.test(text);
}
