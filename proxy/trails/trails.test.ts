/** Access log and request ids, from an application through two proxies to another, on loopback. */
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress } from '../../protocol/discovery.ts';
import { ask, dialHttp2, http2Server } from '../test-http2.ts';
import { accessLog, idOf, ips, mesh, meshed, publish, startApps, startMesh, stopMesh } from '../test-mesh.ts';

const agent = new http.Agent({ keepAlive: true });
const servers: net.Server[] = [];
let seen: http.IncomingHttpHeaders[] = [];
let next = 0;

beforeAll(() => startMesh());
afterEach(() => {
  for (const one of servers.splice(0)) one.close();
  agent.destroy();
  seen = [];
  for (const proxy of [mesh.client, mesh.server]) proxy.accessLog.set('off', 60_000);
});
afterAll(stopMesh);

async function serve(make: (ip: string) => net.Server): Promise<number> {
  const { port, servers: made } = await startApps(make);
  servers.push(...made);
  mesh.destination = formatAddress('10.96.8.1', ++next);
  publish(mesh.destination, [meshed(ips[0]!, port)]);
  return port;
}

const httpApp = () =>
  http.createServer((request, response) => {
    seen.push(request.headers);
    response.end('hello');
  });

function get(path: string, headers: http.OutgoingHttpHeaders = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: mesh.client.ports.outbound, path, headers, agent }, (response) =>
        resolve(text(response)),
      )
      .on('error', reject);
  });
}

function logRequests(format: 'json' | 'common'): void {
  for (const proxy of [mesh.client, mesh.server]) proxy.accessLog.set(format, 60_000);
}

/** The line of either log that has `marker`, once it is there. */
async function lines(marker: string): Promise<[string, string]> {
  const find = (of: 'cart' | 'web') => accessLog(of).filter((line) => line.includes(marker));
  return vi.waitFor(() => {
    const [client, server] = [find('cart'), find('web')];
    expect([client.length, server.length]).toEqual([1, 1]);
    return [client[0]!, server[0]!];
  });
}

const client = { client: 'shop/deployment/cart', client_identity: idOf('cart') };
const server = { server: 'shop/deployment/web', server_identity: idOf('web') };

test('HTTP/1: either proxy writes a line, by the same request id that the application hears', async () => {
  const port = await serve(httpApp);
  logRequests('json');
  await get('/one?token=secret');
  const [sent, received] = (await lines('"/one"')).map((line) => JSON.parse(line));
  const request = {
    ...{ protocol: 'http1', method: 'GET', path: '/one', status: 200, attempts: 1, ...client, ...server },
    authority: `127.0.0.1:${mesh.client.ports.outbound}`,
    endpoint: formatAddress(ips[0]!, port),
    request_id: seen[0]!['x-request-id'],
  };
  expect(sent).toMatchObject({ ...request, direction: 'outbound', service: 'shop/web' });
  expect(received).toMatchObject({ ...request, direction: 'inbound' });
  expect(sent.request_id).toMatch(/^[0-9a-f-]{36}$/);
  for (const { request_bytes, response_bytes, duration_ms, first_byte_ms } of [sent, received]) {
    expect(request_bytes).toBeGreaterThan(50);
    expect(response_bytes).toBeGreaterThan(50);
    expect(duration_ms).toBeGreaterThanOrEqual(first_byte_ms);
  }
  expect(JSON.stringify([sent, received])).not.toContain('secret');
  expect(seen[0]!.traceparent).toBeUndefined();
});

test('ids that the application brought are passed on untouched, and logged', async () => {
  await serve(httpApp);
  logRequests('json');
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  await get('/two', { 'X-Request-Id': 'mine', traceparent, tracestate: 'a=1,b=2' });
  expect(seen[0]).toMatchObject({ 'x-request-id': 'mine', traceparent, tracestate: 'a=1,b=2' });
  for (const line of await lines('"/two"')) {
    expect(JSON.parse(line)).toMatchObject({
      request_id: 'mine',
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    });
  }
});

test('HTTP/2 and gRPC: a line per request, with the status of the call', async () => {
  await serve(
    () =>
      http2Server((stream, headers) => {
        seen.push(headers);
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true });
      }).server,
  );
  logRequests('json');
  const session = await dialHttp2(mesh.client.ports.outbound);
  await ask(session, { ':path': '/shop.Cart/Add', 'content-type': 'application/grpc' }, Buffer.alloc(5));
  await ask(session, { ':path': '/plain?a=b' });
  session.destroy();
  for (const line of await lines('/shop.Cart/Add')) {
    expect(JSON.parse(line)).toMatchObject({
      ...{ protocol: 'grpc', method: 'POST', path: '/shop.Cart/Add', status: 200, grpc_status: 'NOT_FOUND' },
      request_id: seen[0]!['x-request-id'],
    });
  }
  for (const line of await lines('"/plain"')) {
    expect(JSON.parse(line)).toMatchObject({ protocol: 'http2', method: 'GET', status: 200 });
  }
});

test('what a client says at length is cut, in the line alone', async () => {
  await serve(
    () =>
      http2Server((stream, headers) => {
        seen.push(headers);
        stream.respond({ ':status': 200 }, { endStream: true });
      }).server,
  );
  logRequests('json');
  const long = 'x'.repeat(10_000);
  const session = await dialHttp2(mesh.client.ports.outbound);
  await ask(session, { ':method': `CUT${long}`, ':path': `/cut/${long}?${long}`, 'x-request-id': long });
  session.destroy();
  expect(seen[0]).toMatchObject({ ':path': `/cut/${long}?${long}`, 'x-request-id': long });
  for (const line of await lines('"/cut/')) {
    const { method, path, request_id } = JSON.parse(line);
    expect([method.length, path.length, request_id.length]).toEqual([1024, 1024, 128]);
  }
});

test('a connection that is carried as TCP is one line, with its bytes', async () => {
  await serve(() => net.createServer((socket) => socket.end('welcome')));
  logRequests('json');
  const socket = net.connect(mesh.client.ports.outbound, '127.0.0.1');
  expect(await text(socket)).toBe('welcome');
  const [sent, received] = (await lines('"tcp"')).map((line) => JSON.parse(line));
  const connection = { protocol: 'tcp', request_bytes: 0, response_bytes: 7, ...client, ...server };
  expect(sent).toMatchObject({ ...connection, direction: 'outbound', service: 'shop/web' });
  expect(received).toMatchObject({ ...connection, direction: 'inbound' });
  expect(sent.error).toBeUndefined();
});

test('an HTTP/2 client that is slow to begin leaves no line of the connection that was made to look who speaks', async () => {
  const connected = Promise.withResolvers<void>();
  const port = await serve(() =>
    http2Server((stream) => stream.respond({ ':status': 200 }, { endStream: true })).server.on('session', () =>
      connected.resolve(),
    ),
  );
  logRequests('json');
  const socket = net.connect(mesh.client.ports.outbound, '127.0.0.1');
  await connected.promise;
  const session = http2.connect('http://web.shop', { createConnection: () => socket });
  await ask(session, { ':path': '/slow-to-begin' });
  session.destroy();
  await lines('"/slow-to-begin"');
  const endpoint = formatAddress(ips[0]!, port);
  const connections = accessLog('web').map((line) => JSON.parse(line));
  expect(connections.filter((line) => line.protocol === 'tcp' && line.endpoint === endpoint)).toEqual([]);
  expect(mesh.server.inbound.ports.find((one) => one.port === port)?.protocol).toBe('http2');
});

test('a request that no endpoint answers has its code', async () => {
  await serve(httpApp);
  for (const one of servers.splice(0)) one.close();
  mesh.client.accessLog.set('json', 60_000);
  await get('/gone');
  const line = await vi.waitFor(() => accessLog('cart').find((one) => one.includes('"/gone"')) ?? expect.fail());
  const entry = JSON.parse(line);
  expect(entry).toMatchObject({ error: 'connect-failed', attempts: 5, endpoint: expect.any(String) });
  expect(entry.status).toBeUndefined();
});

test('a client without a proxy is told by its address', async () => {
  mesh.destination = formatAddress(ips[0]!, await serve(httpApp));
  mesh.server.accessLog.set('json', 60_000);
  const port = mesh.server.ports.inbound;
  await new Promise<void>((resolve, reject) => {
    const path = '/plain-client';
    http
      .get({ host: '127.0.0.1', port, path, agent: false }, (one) => one.resume().on('end', resolve))
      .on('error', reject);
  });
  const line = await vi.waitFor(() => accessLog('web').find((one) => one.includes('/plain-client')) ?? expect.fail());
  expect(JSON.parse(line)).toMatchObject({ direction: 'inbound', client_address: '127.0.0.1', ...server });
  expect(JSON.parse(line).client).toBeUndefined();
});

test('the Common Log Format', async () => {
  await serve(httpApp);
  logRequests('common');
  await get('/three?a');
  for (const line of await lines('/three')) {
    expect(line).toMatch(
      /^shop\/deployment\/cart - spiffe:\S+ \[\d\d\/\w{3}\/\d{4}:[\d:]{8} \+0000\] "GET \/three HTTP\/1.1" 200 \d+$/,
    );
  }
});

test('while it is off nothing is written, and no header is put in', async () => {
  await serve(httpApp);
  await get('/quiet');
  expect(seen[0]!['x-request-id']).toBeUndefined();
  logRequests('json');
  await get('/loud');
  await lines('"/loud"');
  expect([...accessLog('cart'), ...accessLog('web')].join('\n')).not.toContain('/quiet');
});
