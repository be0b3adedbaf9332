/** Spans of requests through two proxies, as a collector is sent them. */
import http from 'node:http';
import type net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress } from '../../protocol/discovery.ts';
import type { TracingSettings } from '../../protocol/tracing.ts';
import { startCollector } from '../test-collector.ts';
import { ask, dialHttp2, http2Server } from '../test-http2.ts';
import { idOf, ips, mesh, meshed, publish, startApps, startMesh, stopMesh, tell } from '../test-mesh.ts';

let collector: Awaited<ReturnType<typeof startCollector>>;
const servers: net.Server[] = [];
let seen: http.IncomingHttpHeaders[] = [];
let next = 0;

beforeAll(async () => {
  await startMesh();
  collector = await startCollector();
});
afterEach(() => {
  for (const one of servers.splice(0)) one.close();
  collector.spans.length = 0;
  seen = [];
});
afterAll(() => {
  stopMesh();
  collector.close();
});

const grpcApp = () =>
  http2Server((stream, headers) => {
    seen.push(headers);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '13' }, { endStream: true });
  }).server;
const httpApp = () =>
  http.createServer((request, response) => {
    seen.push(request.headers);
    response.statusCode = request.url === '/broken' ? 503 : 200;
    response.end('hello');
  });

async function serve(make: (ip: string) => net.Server): Promise<number> {
  const { port, servers: made } = await startApps(make);
  servers.push(...made);
  mesh.destination = formatAddress('10.96.9.1', ++next);
  publish(mesh.destination, [meshed(ips[0]!, port)]);
  return port;
}

function get(path: string, headers: http.OutgoingHttpHeaders = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: mesh.client.ports.outbound, path, headers, agent: false }, (response) =>
        resolve(text(response)),
      )
      .on('error', reject);
  });
}

/** Both proxies have the settings when they answer by them. */
async function trace(tracing: TracingSettings | null): Promise<void> {
  tell({ type: 'tracing', tracing });
  await vi.waitFor(() => {
    for (const proxy of [mesh.client, mesh.server]) {
      const state = proxy.state().tracing;
      expect(state && { endpoint: state.endpoint, ratio: state.ratio }).toEqual(tracing);
    }
  });
}

const spans = (count: number) =>
  vi.waitFor(
    () => {
      expect(collector.spans.length).toBe(count);
      const of = (kind: number) => collector.spans.filter((span) => span.kind === kind);
      return { client: of(3)[0]!, server: of(2)[0]! };
    },
    { timeout: 10_000, interval: 20 },
  );

test('a new trace: the span of the server is within that of the client, and the application is told of the trace', async () => {
  const port = await serve(httpApp);
  await trace({ endpoint: collector.endpoint, ratio: 1 });
  await get('/one?token=secret', { traceparent: '00-not-one-at-all', tracestate: 'of=nothing' });
  const { client, server } = await spans(2);
  expect(client.parentSpanId).toBeFalsy();
  expect(server.parentSpanId).toBe(client.spanId);
  expect(server.traceId).toBe(client.traceId);
  expect(seen[0]!.traceparent).toBe(`00-${client.traceId}-${server.spanId}-01`);
  expect(seen[0]!.tracestate).toBeUndefined();
  const request = { 'http.request.method': 'GET', 'http.response.status_code': 200 };
  const authority = `127.0.0.1:${mesh.client.ports.outbound}`;
  expect(client).toMatchObject({
    name: 'GET',
    attributes: {
      ...request,
      'url.full': `http://${authority}/one`,
      'server.address': '127.0.0.1',
      'server.port': mesh.client.ports.outbound,
      'network.peer.address': ips[0],
      'network.peer.port': port,
      'network.protocol.version': '1.1',
      'mesh.service': 'shop/web',
      'mesh.peer.workload': 'shop/deployment/web',
      'mesh.peer.identity': idOf('web'),
      'mesh.request_id': seen[0]!['x-request-id'],
    },
    resource: {
      'service.name': 'cart',
      'service.namespace': 'shop',
      'k8s.deployment.name': 'cart',
      'k8s.pod.name': 'cart',
    },
  });
  expect(server).toMatchObject({
    name: 'GET',
    attributes: { ...request, 'url.path': '/one', 'mesh.peer.workload': 'shop/deployment/cart' },
    resource: { 'service.name': 'web' },
  });
  expect(BigInt(client.endTimeUnixNano) - BigInt(client.startTimeUnixNano)).toBeGreaterThanOrEqual(
    BigInt(server.endTimeUnixNano) - BigInt(server.startTimeUnixNano),
  );
  expect(JSON.stringify(collector.spans)).not.toContain('secret');
  expect(new Set(collector.paths)).toEqual(new Set(['/v1/traces']));
});

test("the caller's decision stands: its trace goes on where it is sampled, and is left alone where it is not", async () => {
  await serve(httpApp);
  await trace({ endpoint: collector.endpoint, ratio: 0.5 });
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const unsampled = `00-${traceId}-00f067aa0ba902b7-00`;
  for (let i = 0; i < 10; i++) await get('/unsampled', { traceparent: unsampled, tracestate: 'a=1' });
  for (const headers of seen) expect(headers).toMatchObject({ traceparent: unsampled, tracestate: 'a=1' });
  await get('/broken', { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, tracestate: 'a=1' });
  const { client, server } = await spans(2);
  expect(client).toMatchObject({ traceId, parentSpanId: '00f067aa0ba902b7', traceState: 'a=1', status: { code: 2 } });
  expect(client.attributes['error.type']).toBe('503');
  expect(server).toMatchObject({ traceId, parentSpanId: client.spanId, status: { code: 2 } });
  expect(seen.at(-1)).toMatchObject({ traceparent: `00-${traceId}-${server.spanId}-01`, tracestate: 'a=1' });
});

test('of two traceparents neither is the one', async () => {
  await serve(httpApp);
  await trace({ endpoint: collector.endpoint, ratio: 1 });
  const one = (digit: string) => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`;
  await get('/two', { traceparent: [one('1'), one('2')] });
  const { client } = await spans(2);
  expect(client.traceId).not.toMatch(/^(1+|2+)$/);
  expect(seen[0]!.traceparent).toContain(client.traceId);
});

test('of traces that begin here a share is sampled, by both proxies or by none', async () => {
  await serve(httpApp);
  await trace({ endpoint: collector.endpoint, ratio: 0.5 });
  for (let i = 0; i < 60; i++) await get('/some');
  const sampled = seen.filter(({ traceparent }) => String(traceparent).endsWith('-01')).length;
  expect(seen.length).toBe(60);
  for (const { traceparent } of seen) expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
  // 0.5 of 60, but for one run in ten million.
  expect(sampled).toBeGreaterThan(8);
  expect(sampled).toBeLessThan(52);
  await spans(2 * sampled);
});

test('gRPC calls are named by their method', async () => {
  await serve(grpcApp);
  await trace({ endpoint: collector.endpoint, ratio: 1 });
  const session = await dialHttp2(mesh.client.ports.outbound);
  await ask(session, { ':path': '/shop.Cart/Add', 'content-type': 'application/grpc' }, Buffer.alloc(5));
  session.destroy();
  const { client, server } = await spans(2);
  const attributes = {
    'rpc.system.name': 'grpc',
    'rpc.method': 'shop.Cart/Add',
    'rpc.response.status_code': 'INTERNAL',
    'error.type': 'INTERNAL',
  };
  for (const span of [client, server]) expect(span).toMatchObject({ name: 'shop.Cart/Add', attributes });
  expect(seen[0]!.traceparent).toBe(`00-${client.traceId}-${server.spanId}-01`);
});

test('a span holds no more than the start of what a client says at length', async () => {
  await serve(grpcApp);
  await trace({ endpoint: collector.endpoint, ratio: 1 });
  const long = 'x'.repeat(10_000);
  const traceparent = `00-${'4'.repeat(32)}-${'5'.repeat(16)}-01`;
  const session = await dialHttp2(mesh.client.ports.outbound);
  await ask(session, { ':method': `CUT${long}`, ':path': `/${long}?${long}`, traceparent, tracestate: `a=${long}` });
  session.destroy();
  const { server } = await spans(2);
  expect(String(server.attributes['url.path']).length).toBe(1024);
  expect(String(server.attributes['http.request.method_original']).length).toBe(1024);
  expect(server.traceState).toBeFalsy();
  expect(seen[0]!.tracestate).toBe(`a=${long}`);
});

test('a collector that refuses or is away costs spans, which are counted, and no request', async () => {
  await serve(httpApp);
  await trace({ endpoint: collector.endpoint, ratio: 1 });
  collector.status = 400;
  const before = mesh.client.telemetry.spansDropped;
  await get('/refused');
  await vi.waitFor(() => expect(mesh.client.telemetry.spansDropped).toBe(before + 1), { timeout: 10_000 });
  collector.status = 200;
  await trace({ endpoint: 'http://127.0.0.1:1', ratio: 1 });
  for (let i = 0; i < 20; i++) expect(await get('/away')).toBe('hello');
  await trace({ endpoint: collector.endpoint, ratio: 1 });
  await get('/back');
  await spans(2);
  expect(mesh.client.state().tracing!.spans_sent).toBeGreaterThan(1);
  await vi.waitFor(() => expect(mesh.client.telemetry.spansDropped).toBe(before + 21), { timeout: 10_000 });
});

test('without a collector nothing is put in, and no thread runs', async () => {
  await serve(httpApp);
  await trace(null);
  await get('/off');
  expect(seen[0]!.traceparent).toBeUndefined();
  expect(seen[0]!['x-request-id']).toBeUndefined();
});
