/** HTTP/1 and opaque traffic from an application through two proxies to another, on loopback. */
import http from 'node:http';
import net from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import {
  idOf,
  ips,
  mesh,
  meshed,
  publish,
  reports,
  startApps,
  startControl,
  startMesh,
  stopControl,
  stopMesh,
  streams,
} from './test-mesh.ts';

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
function get(path = '/', use = agent): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port: mesh.client.ports.outbound, path, agent: use }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode!, body }));
        response.on('error', reject);
      })
      .on('error', reject);
  });
}

beforeAll(() => startMesh());
beforeEach(() => agent.destroy());
afterAll(() => {
  agent.destroy();
  stopMesh();
});

test('requests of one connection are spread over all endpoints, in mutual TLS, and counted at both ends', async () => {
  const { port, servers } = await startApps((ip) => http.createServer((_, response) => response.end(ip)));
  mesh.destination = formatAddress('10.96.0.1', 80);
  publish(
    mesh.destination,
    ips.map((ip) => meshed(ip, port)),
  );
  const one = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const seen = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const { status, body } = await get('/', one);
    expect(status).toBe(200);
    seen.add(body);
  }
  expect([...seen].sort()).toEqual(ips);
  one.destroy();
  await vi.waitFor(() => {
    const all = reports.flatMap((report) => report.series);
    const sum = (direction: string) =>
      all.filter((one) => one.direction === direction && one.tls === 'mtls').reduce((n, one) => n + one.requests, 0);
    expect([sum('outbound'), sum('inbound')]).toEqual([60, 60]);
    expect(all.find((one) => one.direction === 'inbound' && one.requests > 0)).toMatchObject({
      peer: { namespace: 'shop', kind: 'deployment', name: 'cart' },
      peerIdentity: idOf('cart'),
    });
  });
  for (const one of servers) one.close();
});

test('an endpoint killed under load costs no request', async () => {
  const apps: http.Server[] = [];
  const { port, servers } = await startApps((ip) => {
    const app = http.createServer((_, response) => void response.end(ip));
    apps.push(app);
    return app;
  });
  mesh.destination = formatAddress('10.96.0.2', 80);
  publish(
    mesh.destination,
    ips.map((ip) => meshed(ip, port)),
  );
  let done = 0;
  const statuses = new Map<number, number>();
  const worker = async () => {
    for (let i = 0; i < 100; i++) {
      const { status } = await get();
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (++done === 200) {
        apps[1]!.close();
        apps[1]!.closeAllConnections();
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  expect(statuses).toEqual(new Map([[200, 800]]));
  for (const one of servers) one.close();
});

test('a server that speaks first is heard in less than 200 ms, and a half-closed connection carries on', async () => {
  const { port, servers } = await startApps((ip) =>
    net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.write(`hello ${ip}\n`);
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('end', () => socket.end(`bye ${text}`));
    }),
  );
  mesh.destination = formatAddress('10.96.0.3', 5432);
  publish(mesh.destination, [meshed(ips[0]!, port)]);
  for (let i = 0; i < 2; i++) {
    const startedAt = performance.now();
    let firstAt = 0;
    const socket = net.connect({ port: mesh.client.ports.outbound, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.on('data', (chunk) => {
      firstAt ||= performance.now();
      if (text === '') socket.end('query');
      text += chunk;
    });
    await new Promise((resolve) => socket.on('end', resolve));
    socket.destroy();
    expect(text).toBe('hello 127.0.1.1\nbye query');
    expect(firstAt - startedAt).toBeLessThan(200);
  }
  for (const one of servers) one.close();
});

/** The first line of the answer to a request that is sent so long after the connection was made. */
async function askLate(silentMs: number): Promise<string | undefined> {
  const socket = net.connect({ port: mesh.client.ports.outbound, host: '127.0.0.1' });
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  const over = new Promise((resolve) => socket.on('end', resolve).on('error', resolve));
  await new Promise((resolve) => setTimeout(resolve, silentMs));
  socket.write('GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n');
  await over;
  return text.split('\r\n', 1)[0];
}

// The second is so slow that its server might be one that speaks first all the same; the third follows one that was slow too.
test.each([
  [100, '10.96.0.55', 0],
  [1_200, '10.96.0.56', 0],
  [1_200, '10.96.0.57', 100],
])(
  'where clients are known to speak first, one that takes %d ms to is not tied to an endpoint that goes meanwhile (%s)',
  async (silentMs, service, before) => {
    const { port, servers } = await startApps((ip) =>
      ip === ips[0]
        ? net.createServer((socket) => void socket.destroy())
        : http.createServer((_, response) => response.end(ip)),
    );
    mesh.destination = formatAddress(service, 80);
    publish(
      mesh.destination,
      ips.slice(0, 2).map((ip) => meshed(ip, port)),
    );
    // Until one has spoken, a server may be one that ends without a word.
    for (let known = false; !known; ) known = (await askLate(before)) === 'HTTP/1.1 200 OK';
    const answers = Array.from({ length: 20 }, () => askLate(silentMs));
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['HTTP/1.1 200 OK']));
    for (const one of servers) one.close();
  },
);

test('without the control plane, known targets go on and unknown ones are dialled as they are', async () => {
  const { port, servers } = await startApps((ip) => http.createServer((_, response) => response.end(ip)));
  mesh.destination = formatAddress('10.96.0.4', 80);
  publish(mesh.destination, [meshed(ips[2]!, port)]);
  expect(await get()).toEqual({ status: 200, body: ips[2] });
  stopControl();
  await vi.waitFor(() => expect(streams.size).toBe(0));
  agent.destroy();
  expect(await get()).toEqual({ status: 200, body: ips[2] });
  agent.destroy();
  const before = mesh.client.telemetry.discoveryFallbacks;
  mesh.destination = formatAddress(ips[0]!, port);
  await vi.waitFor(async () =>
    expect(mesh.client.telemetry.discoveryFallbacks + (await get()).status).toBeGreaterThan(200),
  );
  expect((await get()).body).toBe(ips[0]);
  expect(mesh.client.telemetry.discoveryFallbacks).toBeGreaterThan(before);
  publish(mesh.destination, [meshed(ips[1]!, port)]);
  await startControl();
  await vi.waitFor(
    async () => {
      agent.destroy();
      expect((await get()).body).toBe(ips[1]);
    },
    { timeout: 8000 },
  );
  for (const one of servers) one.close();
});

test('a service without endpoints is told so', async () => {
  mesh.destination = formatAddress('10.96.0.5', 80);
  publish(mesh.destination, []);
  const { status, body } = await get();
  expect(status).toBe(503);
  expect(body).toContain('no-endpoints');
});

test('an application hears which request of a client without a proxy is the last, and of none of a meshed client', async () => {
  const { port, servers } = await startApps(() =>
    http.createServer((request, response) => response.end(request.headers.connection ?? 'none')),
  );
  mesh.destination = formatAddress(ips[0]!, port);
  const ask = async (proxy: number, connection: string): Promise<string> => {
    const url = { host: '127.0.0.1', port: proxy, headers: { connection }, agent: false as const };
    const response = await new Promise<http.IncomingMessage>((resolve, reject) =>
      http.get(url, resolve).on('error', reject),
    );
    return textOf(response);
  };
  const { inbound } = mesh.server.ports;
  expect([await ask(inbound, 'close'), await ask(inbound, 'keep-alive')]).toEqual(['close', 'none']);
  mesh.destination = formatAddress('10.96.0.58', 80);
  publish(mesh.destination, [meshed(ips[0]!, port)]);
  expect(await ask(mesh.client.ports.outbound, 'close')).toBe('none');
  for (const one of servers) one.close();
});

test('a connection that carries nothing, as a health probe makes, does not count; one that is answered does', async () => {
  let answer = '';
  const { port, servers } = await startApps(() =>
    net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {}).on('end', () => socket.end(answer));
      socket.resume();
    }),
  );
  mesh.destination = formatAddress(ips[0]!, port);
  const opened = () =>
    [...mesh.server.telemetry.all].filter((one) => one.key.tls === 'plain').reduce((sum, one) => sum + one.opened, 0);
  const before = opened();
  const call = async (end: (socket: net.Socket) => void): Promise<string> => {
    const socket = net.connect({ port: mesh.server.ports.inbound, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('connect', () => end(socket)).on('error', () => {});
    await new Promise((resolve) => socket.on('close', resolve));
    return text;
  };
  await call((socket) => socket.resetAndDestroy());
  await call((socket) => socket.end());
  answer = 'late';
  expect(await call((socket) => socket.end())).toBe('late');
  await vi.waitFor(() => expect(opened()).toBe(before + 1));
  for (const one of servers) one.close();
});
