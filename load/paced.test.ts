import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { LoadOptions, LoadResult } from './options.ts';
import { runPaced } from './paced.ts';
import { summarize } from './summary.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function listen(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const load = (port: number, more: Partial<LoadOptions> = {}): LoadOptions => ({
  ...{
    host: '127.0.0.1',
    port,
    path: '/a?b=1',
    http2: false,
    connections: 4,
    rate: 200,
    warmUpSeconds: 0,
    seconds: 0.5,
  },
  ...more,
});

/** How many were counted. */
const latenciesOf = ({ latencies }: LoadResult): number =>
  latencies.filter((_, index) => index % 2 === 1).reduce((sum, count) => sum + count, 0);

describe.each([false, true])('a load, HTTP/2: %s', (isHttp2) => {
  const serve = (listener: (request: { url: string; authority: string }) => number) => {
    const answer = (url: string, authority: string, response: http.ServerResponse | http2.Http2ServerResponse) => {
      response.statusCode = listener({ url, authority });
      response.end('some text');
    };
    const server = isHttp2
      ? http2.createServer((request, response) => answer(request.url, request.authority, response))
      : http.createServer((request, response) => answer(request.url!, request.headers.host!, response));
    return listen(server);
  };

  test('asks as often as it is told, for what it is told', async () => {
    const asked = new Map<string, number>();
    const port = await serve(({ url, authority }) => {
      asked.set(`${authority}${url}`, (asked.get(`${authority}${url}`) ?? 0) + 1);
      return 200;
    });
    const result = await runPaced(load(port, { http2: isHttp2, authority: 'web.shop' }));
    expect(asked).toEqual(new Map([['web.shop/a?b=1', 100]]));
    expect(result).toMatchObject({ requests: 100, errors: {} });
    expect(latenciesOf(result)).toBe(100);
  });

  test('counts failures by their cause', async () => {
    let count = 0;
    const port = await serve(() => (count++ % 4 === 0 ? 503 : 204));
    const { requests, errors } = await runPaced(load(port, { http2: isHttp2 }));
    expect({ requests, errors }).toEqual({ requests: 100, errors: { 'status 503': 25 } });
  });

  test('tells where nobody listens', async () => {
    const server = net.createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const { requests, errors } = await runPaced(load(port, { http2: isHttp2, seconds: 0.1 }));
    expect({ requests, errors }).toEqual({ requests: 20, errors: { ECONNREFUSED: 20 } });
  });
});

test('a request that waits for a stalled one counts from when it was due', async () => {
  let first = true;
  const server = http.createServer((_, response) => {
    const wait = first ? 400 : 0;
    first = false;
    setTimeout(() => response.end(), wait);
  });
  const port = await listen(server);
  const one = await runPaced(load(port, { connections: 1, rate: 100, seconds: 0.5 }));
  const { requests, errors, latency } = summarize([one]);
  expect({ requests, errors }).toEqual({ requests: 50, errors: 0 });
  // Without that, one request of fifty would have been slow. Some forty were due while the first was under way.
  expect(latency(0.5)).toBeGreaterThan(100);
});

test('connections that the server ends, before or after a response, are opened again', async () => {
  let count = 0;
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      if (count++ % 2 === 0) socket.destroy();
      else socket.end('HTTP/1.1 200 OK\r\n\r\nuntil the end');
    });
  });
  const port = await listen(server);
  const { requests, errors } = await runPaced(load(port, { connections: 1, rate: 100, seconds: 0.2 }));
  expect({ requests, errors }).toEqual({ requests: 20, errors: { 'closed before the response': 10 } });
});

test('does not count the warm-up, whose connections it goes on with', async () => {
  let [connected, count] = [0, 0];
  const server = http.createServer((_, response) => {
    response.statusCode = count++ < 40 ? 503 : 200;
    response.end();
  });
  server.on('connection', () => connected++);
  const port = await listen(server);
  closing.push(() => server.closeAllConnections());
  const one = await runPaced(load(port, { connections: 40, rate: 100, warmUpSeconds: 0.4, seconds: 0.3 }));
  const { requests, errors } = summarize([one]);
  expect({ requests, errors, connected, sent: one.sent }).toEqual({ requests: 30, errors: 0, connected: 40, sent: 70 });
  expect(latenciesOf(one)).toBe(30);
});

test('ends at once, with what there was, where nobody waits for it any more', async () => {
  const server = http.createServer(() => {});
  const port = await listen(server);
  closing.push(() => server.closeAllConnections());
  const gone = new AbortController();
  server.once('request', () => gone.abort());
  expect(await runPaced(load(port, { seconds: 600 }), gone.signal)).toMatchObject({ requests: 0, errors: {} });
});
