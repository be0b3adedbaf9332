import { expect, test } from 'vitest';
import type { Entry } from './entry.ts';
import { commonLine, jsonLine } from './format.ts';

const end = (name: string) => ({
  workload: { namespace: 'shop', kind: 'deployment', name },
  identity: `spiffe://cluster.local/ns/shop/sa/${name}`,
});
const entry: Entry = {
  direction: 'outbound',
  protocol: 'grpc',
  time: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  client: end('web'),
  clientAddress: null,
  server: end('cart'),
  service: 'shop/cart',
  endpoint: '10.1.0.5:80',
  requestBytes: 120,
  responseBytes: 3400,
  durationMs: 12.345,
  error: null,
  request: {
    method: 'POST',
    authority: 'cart:80',
    path: '/shop.Cart/Add',
    status: 200,
    grpcStatus: 'NOT_FOUND',
    firstByteMs: 4.56,
    attempts: 2,
    requestId: 'b7c1',
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
  },
};
const anonymous = { workload: null, identity: null };

test('a request as JSON has every field', () => {
  expect(JSON.parse(jsonLine(entry))).toEqual({
    time: '2026-01-02T03:04:05.678Z',
    direction: 'outbound',
    protocol: 'grpc',
    client: 'shop/deployment/web',
    client_identity: 'spiffe://cluster.local/ns/shop/sa/web',
    server: 'shop/deployment/cart',
    server_identity: 'spiffe://cluster.local/ns/shop/sa/cart',
    service: 'shop/cart',
    method: 'POST',
    authority: 'cart:80',
    path: '/shop.Cart/Add',
    status: 200,
    grpc_status: 'NOT_FOUND',
    request_bytes: 120,
    response_bytes: 3400,
    duration_ms: 12.3,
    first_byte_ms: 4.6,
    attempts: 2,
    endpoint: '10.1.0.5:80',
    request_id: 'b7c1',
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
  });
});

test('what is not known is left out', () => {
  const { request: _, ...connection } = entry;
  const line = jsonLine({ ...connection, protocol: 'tcp', client: anonymous, error: 'connect-failed', service: null });
  expect(Object.keys(JSON.parse(line))).toEqual([
    ...['time', 'direction', 'protocol', 'server', 'server_identity', 'request_bytes', 'response_bytes'],
    ...['duration_ms', 'endpoint', 'error'],
  ]);
});

test('the Common Log Format, of a request and of a connection', () => {
  expect(commonLine(entry)).toBe(
    'shop/deployment/web - spiffe://cluster.local/ns/shop/sa/web [02/Jan/2026:03:04:05 +0000] "POST /shop.Cart/Add HTTP/2.0" 200 3400\n',
  );
  const { request: _, ...connection } = entry;
  expect(commonLine({ ...entry, client: anonymous, clientAddress: '10.1.0.9' })).toMatch(/^10\.1\.0\.9 - - \[/);
  expect(commonLine({ ...connection, protocol: 'tcp', client: anonymous })).toBe(
    '- - - [02/Jan/2026:03:04:05 +0000] "TCP 10.1.0.5:80" - 3400\n',
  );
});

test('no request can break its line', () => {
  const request = { ...entry.request!, path: '/a"\n\\\u00e9', status: 0 };
  expect(commonLine({ ...entry, request })).toContain('"POST /a\\"\\x0a\\\\\\xe9 HTTP/2.0" - 3400\n');
  expect(jsonLine({ ...entry, request }).split('\n').length).toBe(2);
});
