/** What a Service's annotations ask for, through two proxies on loopback, in HTTP/1 and HTTP/2. */
import http from 'node:http';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Address, formatAddress } from '../protocol/discovery.ts';
import { readTrafficPolicy } from '../protocol/traffic-policy.ts';
import type { Exchange } from './http/exchange.ts';
import { ExchangeClock } from './resilience/exchange-clock.ts';
import { TargetPolicy } from './resilience/target-policy.ts';
import { ask, dialHttp2, http2Server } from './test-http2.ts';
import { ips, mesh, meshed, publish, startApps, startMesh, stopMesh, unmeshed } from './test-mesh.ts';

type Headers = Record<string, string | string[] | undefined>;
interface Seen {
  ip: string;
  method: string;
  headers: Headers;
  body: string;
}
interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
  trailers?: Record<string, string>;
  /** It begins, and never ends. */
  open?: boolean;
}
/** No reply: it hangs. */
type Handler = (seen: Seen, again: (reply: Reply) => void) => Reply | undefined;
interface Service {
  address: Address;
  seen: Seen[];
  /** Requests that were taken back. */
  cancelled: number;
  /** Closes its connections. */
  cut(): void;
}
interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}
interface Answer {
  status: number;
  headers: Headers;
  body: string;
  cut: boolean;
}
const kinds = ['HTTP/1', 'HTTP/2'] as const;
type Kind = (typeof kinds)[number];

const cleanup: (() => void)[] = [];
let services = 1;

beforeAll(() => startMesh());
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});
afterAll(stopMesh);

async function serve(
  kind: Kind,
  annotations: Record<string, string>,
  handler: Handler,
  { plain = false, count = ips.length } = {},
): Promise<Service> {
  const ends: (() => void)[] = [];
  const cut = () => {
    for (const end of ends) end();
  };
  const service: Service = { address: formatAddress(`10.96.7.${services++}`, 80), seen: [], cancelled: 0, cut };
  const { port, servers } = await startApps((ip) => {
    if (kind === 'HTTP/2') {
      const { server, sessions } = http2Server((stream, headers) => {
        let body = '';
        stream.on('data', (chunk) => {
          body += chunk;
        });
        stream.on('aborted', () => service.cancelled++);
        stream.on('end', () => {
          const seen = { ip, method: String(headers[':method']), headers, body };
          service.seen.push(seen);
          const send = (reply: Reply) => {
            if (stream.destroyed) return;
            const head = { ':status': reply.status ?? 200, ...reply.headers };
            if (reply.trailers) {
              stream.respond(head, { waitForTrailers: true });
              stream.on('wantTrailers', () => stream.sendTrailers(reply.trailers!));
            } else stream.respond(head, { endStream: reply.body === undefined && !reply.open });
            if (reply.open) stream.write(reply.body);
            else if (reply.body !== undefined || reply.trailers) stream.end(reply.body);
          };
          const reply = handler(seen, send);
          if (reply) send(reply);
        });
      });
      ends.push(() => {
        for (const one of sessions) one.destroy();
      });
      return server;
    }
    const server = http.createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      response.on('close', () => {
        if (!response.writableEnded) service.cancelled++;
      });
      request.on('end', () => {
        const seen = { ip, method: request.method!, headers: request.headers, body };
        service.seen.push(seen);
        const send = (reply: Reply) => {
          response.writeHead(reply.status ?? 200, reply.headers);
          if (reply.open) response.write(reply.body);
          else response.end(reply.body);
        };
        const reply = handler(seen, send);
        if (reply) send(reply);
      });
    });
    ends.push(() => server.closeAllConnections());
    return server;
  });
  cleanup.push(() => {
    for (const one of servers) one.close();
    cut();
  });
  const prefixed = Object.fromEntries(Object.entries(annotations).map(([k, v]) => [`config.mesh.dev/${k}`, v]));
  const { policy, problems } = readTrafficPolicy(prefixed);
  expect(problems).toEqual([]);
  const endpoint = plain ? unmeshed : meshed;
  publish(
    service.address,
    ips.slice(0, count).map((ip) => endpoint(ip, port)),
    policy,
  );
  return service;
}

/** One request of the application behind a proxy, whole. */
async function request(kind: Kind, to: Address, asked: Asked = {}, port = mesh.client.ports.outbound): Promise<Answer> {
  mesh.destination = to;
  if (kind === 'HTTP/2') {
    const session = await dialHttp2(port);
    const headers = { ...asked.headers, ...(asked.method ? { ':method': asked.method } : {}) };
    const answer = await ask(session, headers, asked.body === undefined ? undefined : Buffer.from(asked.body));
    session.destroy();
    return {
      status: answer.status,
      headers: { ...answer.headers, ...answer.trailers },
      body: String(answer.body),
      cut: answer.code !== 0,
    };
  }
  const { method = asked.body === undefined ? 'GET' : 'POST', headers = {}, body } = asked;
  const message = http.request({ host: '127.0.0.1', port, method, headers, agent: false });
  message.end(body);
  return new Promise((resolve, reject) => {
    message.on('error', reject);
    message.on('response', (response) => {
      let text = '';
      const done = () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: text, cut: !response.complete });
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', () => {});
      response.on('close', done);
    });
  });
}

const failing: Handler = () => ({ status: 503, headers: { 'x-app': 'fails' }, body: 'no' });
/** Fails on the first endpoint that is asked, answers on any other. */
const oneBad = (): Handler => {
  let bad: string | undefined;
  return ({ ip, body }) => {
    bad ??= ip;
    return ip === bad ? { status: 503, body: 'no' } : { body: `fine ${body}` };
  };
};
/** Requests that targets' policies are asked of; makes the time of the latest end now, and the client's proxy yet to notice. */
function watchBegun() {
  const begin = vi.spyOn(TargetPolicy.prototype, 'begin');
  cleanup.push(() => begin.mockRestore());
  const latest = (): Exchange => begin.mock.lastCall![0];
  const timeEnds = (): void => {
    latest().deadline = performance.now();
  };
  return { latest, timeEnds };
}
const totals = (proxy = mesh.client) => {
  const all = [...proxy.telemetry.all].filter(({ key }) => key.direction === 'outbound');
  const of = (pick: (one: (typeof all)[number]) => number) => all.reduce((sum, one) => sum + pick(one), 0);
  return {
    retries: of((one) => one.retries),
    exhausted: of((one) => one.exhausted),
    ejections: of((one) => one.ejections),
  };
};

describe.each(kinds)('%s', (kind) => {
  test('without annotations a failure is passed on as it is', async () => {
    const { address, seen } = await serve(kind, {}, failing);
    expect(await request(kind, address)).toMatchObject({ status: 503, body: 'no', headers: { 'x-app': 'fails' } });
    expect(seen.length).toBe(1);
    expect(seen[0]!.headers).not.toHaveProperty('mesh-deadline');
  });

  test('a failure that is named is tried again at another endpoint, marked, with its body', async () => {
    const before = totals();
    const { address, seen } = await serve(kind, { retry: '5xx', 'retry-methods': 'POST' }, oneBad());
    expect(await request(kind, address, { body: 'this' })).toMatchObject({ status: 200, body: 'fine this' });
    expect(seen.map((one) => [one.body, one.headers['mesh-retry']])).toEqual([
      ['this', undefined],
      ['this', '1'],
    ]);
    expect(seen[0]!.ip).not.toBe(seen[1]!.ip);
    expect(totals().retries - before.retries).toBe(1);
  });

  test.each<[string, Record<string, string>, Asked, number]>([
    ['another status', { retry: '500-502,504' }, {}, 1],
    ['a method that is not idempotent', { retry: '5xx' }, { body: 'this' }, 1],
    ['a method that is not named', { retry: '5xx', 'retry-methods': 'POST' }, {}, 1],
    ['a body over 64 KiB', { retry: '5xx' }, { method: 'PUT', body: 'x'.repeat(70_000) }, 1],
    ['a request that is made for a retry', { retry: '5xx' }, { headers: { 'mesh-retry': '1' } }, 1],
    ['nothing, once', { retry: '5xx' }, {}, 2],
    ['nothing, three times', { retry: 'gateway-error', 'retry-limit': '3' }, { method: 'PUT', body: 'this' }, 4],
  ])('what keeps it from a retry: %s', async (_, annotations, asked, tries) => {
    const { address, seen } = await serve(kind, annotations, failing);
    expect(await request(kind, address, asked)).toMatchObject({ status: 503, body: 'no' });
    expect(seen.length).toBe(tries);
  });

  test('the budget is a fifth of the requests and ten more', async () => {
    const before = totals();
    const { address, seen } = await serve(kind, { retry: '5xx' }, failing);
    for (let i = 0; i < 40; i++) expect((await request(kind, address)).status).toBe(503);
    expect(seen.length).toBe(58);
    const { retries, exhausted } = totals();
    expect([retries - before.retries, exhausted - before.exhausted]).toEqual([18, 22]);
  });

  test('an unmeshed endpoint hears nothing of the mesh', async () => {
    const annotations = { retry: '5xx', 'timeout-request': '10s' };
    const { address, seen } = await serve(kind, annotations, failing, { plain: true });
    await request(kind, address, { headers: { 'mesh-deadline': '5000' } });
    expect(seen.length).toBe(2);
    for (const { headers } of seen) expect(Object.keys(headers).filter((name) => name.startsWith('mesh-'))).toEqual([]);
  });

  test('a try that is not answered in time is cancelled, and with it the request', async () => {
    const service = await serve(kind, { 'timeout-response': '60ms' }, () => undefined);
    const answer = await request(kind, service.address);
    expect(answer).toMatchObject({
      status: 504,
      headers: { 'mesh-error': expect.stringMatching(/^response-timeout;/) },
    });
    await vi.waitFor(() => expect(service.cancelled).toBe(1), { timeout: 8_000 });
    expect(service.seen.length).toBe(1);
  });

  test('where 504 is retried, a try that is not answered in time is followed by another', async () => {
    let first: string | undefined;
    const service = await serve(kind, { 'timeout-response': '60ms', retry: 'gateway-error' }, ({ ip }) => {
      first ??= ip;
      return ip === first ? undefined : { body: 'fine' };
    });
    expect(await request(kind, service.address)).toMatchObject({ status: 200, body: 'fine' });
    await vi.waitFor(() => expect(service.cancelled).toBe(1), { timeout: 8_000 });
  });

  test('where nothing is asked for, no request has a clock; where a time is, it has one at either proxy', async () => {
    const start = vi.spyOn(ExchangeClock.prototype, 'start');
    cleanup.push(() => start.mockRestore());
    const plain = await serve(kind, {}, () => ({ body: 'fine' }));
    expect((await request(kind, plain.address)).body).toBe('fine');
    expect(start).toHaveBeenCalledTimes(0);
    const timed = await serve(kind, { 'timeout-request': '60s' }, () => ({ body: 'fine' }));
    expect((await request(kind, timed.address)).body).toBe('fine');
    expect(start).toHaveBeenCalledTimes(2);
  });

  test('the time for a request holds over all its tries, and is told to the server', async () => {
    const service = await serve(
      kind,
      { 'timeout-request': '900ms', 'timeout-response': '300ms', retry: '504', 'retry-limit': '10' },
      () => undefined,
    );
    const answer = await request(kind, service.address);
    expect(answer.status).toBe(504);
    expect(answer.body).toMatch(/\[mesh (request|response)-timeout\]/);
    expect(service.seen.length).toBeGreaterThan(1);
    expect(service.seen.length).toBeLessThan(5);
    const left = service.seen.map((one) => Number(one.headers['mesh-deadline']));
    expect(left[0]).toBeLessThanOrEqual(900);
    expect(left[1]).toBeLessThan(left[0]!);
  });

  test('where the server finds first that the time is over, the client hears whose limit it was', async () => {
    const late = { status: 504, headers: { 'mesh-error': 'deadline-exceeded; late' }, body: 'late' };
    const { timeEnds } = watchBegun();
    const service = await serve(kind, { 'timeout-request': '60s' }, () => {
      timeEnds();
      return late;
    });
    expect(await request(kind, service.address)).toMatchObject({
      status: 504,
      headers: { 'mesh-error': expect.stringMatching(/^request-timeout;/) },
    });
    // An application hands on what a call of its own came to.
    const other = await serve(kind, { 'timeout-request': '60s' }, () => late);
    expect(await request(kind, other.address)).toMatchObject({
      status: 504,
      headers: { 'mesh-error': 'deadline-exceeded; late' },
      body: 'late',
    });
  });

  test('where the server finds so in the middle of its response, that is what it failed by', async () => {
    const { latest, timeEnds } = watchBegun();
    const service = await serve(kind, { 'timeout-request': '60s' }, () => ({ body: 'begun', open: true }));
    const answer = request(kind, service.address);
    await vi.waitFor(() => expect(latest().status).toBe(200));
    timeEnds();
    service.cut();
    expect(await answer).toMatchObject({ status: 200, cut: true });
    expect(mesh.client.state().errors[0]).toMatchObject({ code: 'request-timeout' });
  });

  test('a response that goes silent is cut off', async () => {
    const service = await serve(kind, { 'timeout-idle': '60ms' }, () => ({ body: 'begun', open: true }));
    expect(await request(kind, service.address)).toMatchObject({ status: 200, body: 'begun', cut: true });
    await vi.waitFor(() => expect(service.cancelled).toBe(1), { timeout: 8_000 });
  });

  test('a deadline that comes with the request is held to at the server, and what is late is refused', async () => {
    const service = await serve(kind, {}, () => undefined);
    const answer = await request(kind, service.address, { headers: { 'mesh-deadline': '60' } });
    expect(answer).toMatchObject({
      status: 504,
      headers: { 'mesh-error': expect.stringMatching(/^deadline-exceeded;/) },
    });
    await vi.waitFor(() => expect(service.cancelled).toBe(1), { timeout: 8_000 });
    expect((await request(kind, service.address, { headers: { 'mesh-deadline': '0' } })).status).toBe(504);
    expect(service.seen.length).toBe(1);
  });

  test('Retry-After leaves the endpoint alone; where there is no other, no retry is made', async () => {
    const saysWait = (): Handler => {
      let busy: string | undefined;
      return ({ ip }) => {
        busy ??= ip;
        return ip === busy ? { status: 429, headers: { 'retry-after': '20' }, body: 'wait' } : { body: 'fine' };
      };
    };
    const several = await serve(kind, { retry: '429' }, saysWait());
    for (let i = 0; i < 20; i++) expect((await request(kind, several.address)).status).toBe(200);
    expect(several.seen.length).toBe(21);
    const one = await serve(kind, { retry: '429' }, saysWait(), { count: 1 });
    expect((await request(kind, one.address)).status).toBe(429);
    expect(one.seen.length).toBe(1);
  });

  test('an application whose own calls were retried in vain is not asked again', async () => {
    const last = await serve(kind, { retry: '5xx' }, failing, { plain: true });
    const middle = await serve(kind, { retry: '5xx' }, (_, send) => {
      const own = request(kind, last.address, {}, mesh.server.ports.outbound);
      void own.then(({ status }) => send({ status, body: `of ${status}` }));
      return undefined;
    });
    const answer = await request(kind, middle.address);
    expect(answer).toMatchObject({ status: 503, body: 'of 503' });
    expect(answer.headers).not.toHaveProperty('mesh-retry');
    expect([middle.seen.length, last.seen.length]).toEqual([1, 2]);
  });

  test('what is called for a retry is recognised by its trace', async () => {
    const traceparent = `00-${(kind === 'HTTP/1' ? 'ab' : 'ba').repeat(16)}-${'cd'.repeat(8)}-01`;
    const last = await serve(kind, { retry: '5xx' }, failing, { plain: true });
    const before = await request(kind, last.address, { headers: { traceparent } }, mesh.server.ports.outbound);
    expect([before.status, last.seen.length]).toEqual([503, 2]);
    const middle = await serve(kind, {}, () => ({}));
    await request(kind, middle.address, { headers: { traceparent, 'mesh-retry': '1' } });
    await request(kind, last.address, { headers: { traceparent } }, mesh.server.ports.outbound);
    expect(last.seen.length).toBe(3);
  });

  test('with failure accrual an endpoint that fails is left out', async () => {
    const before = totals().ejections;
    const bad = ips[0];
    const handler: Handler = ({ ip }) => (ip === bad ? { status: 500 } : { body: 'fine' });
    const service = await serve(kind, { 'failure-accrual': 'consecutive' }, handler);
    await vi.waitFor(
      async () => {
        await request(kind, service.address);
        expect(totals().ejections - before).toBe(1);
      },
      { timeout: 8_000, interval: 1 },
    );
    expect(service.seen.filter(({ ip }) => ip === bad).length).toBe(5);
  });
});

const grpc = { 'content-type': 'application/grpc', te: 'trailers' };

test.each([
  ['in a head that is all', { headers: { 'content-type': 'application/grpc', 'grpc-status': '14' } }],
  ['behind a head', { headers: { 'content-type': 'application/grpc' }, trailers: { 'grpc-status': '14' } }],
])('gRPC: a status that is named, %s, is tried again', async (_, reply) => {
  let bad: string | undefined;
  const service = await serve('HTTP/2', { retry: 'unavailable' }, ({ ip, body }) => {
    bad ??= ip;
    if (ip === bad) return reply;
    return { headers: { 'content-type': 'application/grpc' }, body, trailers: { 'grpc-status': '0' } };
  });
  const answer = await request('HTTP/2', service.address, { headers: grpc, body: 'message' });
  expect(answer).toMatchObject({ status: 200, body: 'message', headers: { 'grpc-status': '0' } });
  expect(service.seen.map(({ body }) => body)).toEqual(['message', 'message']);
});

test('gRPC: a message that came before the status is passed on, and nothing tried again', async () => {
  const service = await serve('HTTP/2', { retry: 'unavailable' }, () => ({
    ...{ headers: { 'content-type': 'application/grpc' }, body: 'part', trailers: { 'grpc-status': '14' } },
  }));
  const answer = await request('HTTP/2', service.address, { headers: grpc, body: 'message' });
  expect(answer).toMatchObject({ body: 'part', headers: { 'grpc-status': '14' } });
  expect(service.seen.length).toBe(1);
});

test('gRPC: the smaller of its own deadline and the service’s goes on, and ends the call', async () => {
  const service = await serve('HTTP/2', { 'timeout-request': '10s' }, () => undefined);
  const headers = { ...grpc, 'grpc-timeout': '80m' };
  const answer = await request('HTTP/2', service.address, { headers, body: 'message' });
  expect(answer.headers).toMatchObject({ 'grpc-status': '4' });
  expect(service.seen[0]!.headers['grpc-timeout']).toMatch(/^\d{1,2}m$/);
  await vi.waitFor(() => expect(service.cancelled).toBe(1), { timeout: 8_000 });
  const other = await serve('HTTP/2', { 'timeout-request': '80ms' }, () => undefined, { plain: true });
  const late = await request('HTTP/2', other.address, { headers: { ...grpc, 'grpc-timeout': '9S' }, body: 'message' });
  expect(late.headers).toMatchObject({ 'grpc-status': '4', 'mesh-error': expect.stringMatching(/^request-timeout;/) });
  expect(other.seen[0]!.headers['grpc-timeout']).toMatch(/^\d{1,2}m$/);
});

test('gRPC: its own deadline counts at the server beside a larger one of the calls before it', async () => {
  const service = await serve('HTTP/2', {}, () => undefined);
  const headers = { ...grpc, 'grpc-timeout': '80m', 'mesh-deadline': '60000' };
  const answer = await request('HTTP/2', service.address, { headers, body: 'message' });
  expect(answer.headers).toMatchObject({ 'mesh-error': expect.stringMatching(/^deadline-exceeded;/) });
});

test('HTTP/1: a body that is still coming when a try fails goes whole with the next', async () => {
  let tries = 0;
  const service = await serve('HTTP/1', { retry: '5xx', 'retry-methods': 'POST' }, ({ body }) =>
    ++tries === 1 ? { status: 500 } : { body },
  );
  mesh.destination = service.address;
  const socket = connect(mesh.client.ports.outbound, '127.0.0.1');
  cleanup.push(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbo');
  socket.write('dy');
  await vi.waitFor(() => expect(text).toMatch(/^HTTP\/1.1 200 OK.*body/s), { timeout: 8_000 });
  expect(service.seen.map(({ body }) => body)).toEqual(['body', 'body']);
});
