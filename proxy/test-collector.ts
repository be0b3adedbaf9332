/** For tests: a collector of OpenTelemetry that keeps the spans it is sent (OTLP over HTTP, JSON). */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

interface Attribute {
  key: string;
  value: { stringValue?: string; intValue?: number };
}

export interface SeenSpan {
  resource: Record<string, unknown>;
  attributes: Record<string, unknown>;
  name: string;
  /** 2 server, 3 client. */
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  traceState?: string;
  status: { code: number };
  startTimeUnixNano: string;
  endTimeUnixNano: string;
}

interface Request {
  resourceSpans: {
    resource: { attributes: Attribute[] };
    scopeSpans: { spans: (Omit<SeenSpan, 'attributes' | 'resource'> & { attributes: Attribute[] })[] }[];
  }[];
}

const record = (attributes: Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

/** Every span of one request to a collector. */
export function spansOf({ resourceSpans }: Request): SeenSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({ ...span, resource: record(resource.attributes), attributes: record(span.attributes) })),
  );
}

export interface Collector {
  endpoint: string;
  spans: SeenSpan[];
  /** What it is asked for, and answers. */
  paths: string[];
  status: number;
  close(): void;
}

export async function startCollector(): Promise<Collector> {
  const server = http.createServer((request, response) => {
    collector.paths.push(request.url ?? '');
    void json(request).then((body) => {
      if (collector.status === 200) collector.spans.push(...spansOf(body as Request));
      response.writeHead(collector.status, { 'content-type': 'application/json' }).end('{}');
    });
  });
  const collector: Collector = {
    ...{ endpoint: '', spans: [], paths: [], status: 200 },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
  await once(server.listen(0, '127.0.0.1'), 'listening');
  collector.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return collector;
}
