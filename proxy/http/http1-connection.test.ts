import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { until } from '../test-peer.ts';
import { bench, echoPaths, get, listen, ok } from './test-bench.ts';

test('keep-alive: two exchanges share both connections', async () => {
  const { client, servers, requests, attempts, pending } = await bench({ onServer: echoPaths });
  client.write(get('/one'));
  await client.reads('/one');
  client.write(get('/two'));
  await client.reads('/two');
  expect(servers.length).toBe(1);
  expect([requests, attempts, pending()]).toEqual([
    [
      [200, undefined],
      [200, undefined],
    ],
    ['ok', 'ok'],
    0,
  ]);
});

test.each([
  ['two whole requests', get('/b'), ok('/b').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')],
  ['half a head', 'GET /b HT', ''],
  ['half a body', 'POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf', ''],
])('a client that ends its side behind %s gets every answer it asked for', async (_, second, answer) => {
  const { client, servers } = await bench({ onServer: echoPaths });
  client.socket.end(get('/a') + second);
  await until(() => client.ended, 'the end');
  expect(client.text).toBe(ok('/a') + answer);
  expect(servers.map((peer) => peer.text).join('')).not.toContain('POST');
});

test('pipelined requests are answered in order, one at a time', async () => {
  const { client, servers } = await bench({ onServer: echoPaths });
  client.write(get('/a') + get('/b') + get('/c'));
  await client.reads('/c');
  expect(client.text).toBe(ok('/a') + ok('/b') + ok('/c'));
  expect(servers.length).toBe(1);
});

test.each([
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'],
  ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n'],
])('%s answered by %j has no body', async (method, response) => {
  const { client, servers } = await bench();
  client.write(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`);
  await until(() => servers[0]?.text.endsWith('\r\n\r\n') === true, 'the request');
  servers[0]!.write(response);
  await client.reads('\r\n\r\n');
  client.write(get('/next'));
  await servers[0]!.reads('/next');
  servers[0]!.write(ok('next'));
  await client.reads('next');
  expect(client.text).toBe(response + ok('next'));
});

test('chunked bodies and trailers pass both ways as they are', async () => {
  const { client, servers } = await bench();
  const body = '5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n';
  const request = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
  for (const byte of request) client.write(byte);
  await until(() => servers[0]?.text === request, 'the request');
  const response = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
  for (const byte of response) servers[0]!.write(byte);
  await client.reads('X-Sum: 1\r\n\r\n');
  expect(client.text).toBe(response);
});

test('Expect: 100-continue goes through, and so does the interim response', async () => {
  const { client, servers } = await bench();
  client.write('PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
  await until(() => servers[0]?.text.includes('100-continue') === true, 'the head');
  servers[0]!.write('HTTP/1.1 100 Continue\r\n\r\n');
  await client.reads('100 Continue');
  client.write('body');
  await servers[0]!.reads('body');
  servers[0]!.write(ok('done'));
  await client.reads('done');
});

test('an HTTP/1.0 client gets no interim response', async () => {
  const { client, servers } = await bench();
  client.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
  await until(() => servers[0]?.text.endsWith('\r\n\r\n') === true, 'the request');
  servers[0]!.write(`HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok('done')}`);
  await client.reads('done');
  expect(client.text.startsWith('HTTP/1.1 200 OK')).toBe(true);
});

test('an upgrade that was asked for joins both sides', async () => {
  const { client, servers, requests } = await bench();
  client.write(get('/', 'Connection: Upgrade\r\nUpgrade: chat\r\n'));
  await until(() => servers[0]?.text.includes('chat') === true, 'the request');
  servers[0]!.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nfirst');
  await client.reads('first');
  client.write('from client');
  await servers[0]!.reads('from client');
  servers[0]!.write('from server');
  await client.reads('from server');
  client.socket.end();
  await until(() => servers[0]!.ended, 'the end at the server');
  servers[0]!.socket.end();
  await until(() => requests.length === 1, 'the end of the exchange');
  expect(requests).toEqual([[101, undefined]]);
});

test.each([
  ['nobody asked for', get('/')],
  [
    'before the end of the request',
    'POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\nContent-Length: 9\r\n\r\nshort',
  ],
])('a switch of protocols %s is a bad response', async (_, request) => {
  const { client, servers, requests, attempts, pending } = await bench();
  client.write(request);
  await until(() => servers[0]?.text.includes('POST') === true || servers[0]?.text.includes('GET') === true, 'request');
  servers[0]!.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n');
  await client.reads('[mesh bad-response]');
  expect(client.text.startsWith('HTTP/1.1 502 ')).toBe(true);
  await until(() => servers[0]!.closed || servers[0]!.ended, 'the end at the server');
  expect([requests, attempts, pending()]).toEqual([[[0, 'bad-response']], ['bad-response'], 0]);
});

test('a server that did not take up an upgrade gets no other request on that connection', async () => {
  const { client, servers } = await bench({ onServer: echoPaths });
  client.write(get('/chat', 'Connection: Upgrade\r\nUpgrade: chat\r\n'));
  await client.reads('/chat');
  client.write(get('/next'));
  await client.reads('/next');
  expect(servers.map((peer) => peer.text.split(' ')[1])).toEqual(['/chat', '/next']);
  await until(() => servers[0]!.ended || servers[0]!.closed, 'the end of the first connection');
});

test('an early response is passed on and ends the connection', async () => {
  const { client, servers } = await bench();
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart');
  await until(() => servers[0]?.text.includes('part') === true, 'the request');
  servers[0]!.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n');
  await until(() => client.ended, 'the end');
  expect(client.text).toMatch(/^HTTP\/1\.1 413 .*\r\nConnection: close\r\n\r\n$/s);
});

test('a client that goes takes its request to the server with it', async () => {
  const { client, servers, requests, pending } = await bench();
  client.write(get('/slow'));
  await until(() => servers[0]?.text.includes('/slow') === true, 'the request');
  client.socket.resetAndDestroy();
  await until(() => servers[0]!.closed || servers[0]!.ended, 'the end at the server');
  expect([requests, pending()]).toEqual([[[0, 'client-gone']], 0]);
});

test('a response cut after its head is one answered try, and cuts the client', async () => {
  const { client, servers, requests, attempts, pending } = await bench();
  client.write(get('/'));
  await until(() => servers[0]?.text.endsWith('\r\n\r\n') === true, 'the request');
  servers[0]!.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
  await client.reads('half');
  servers[0]!.socket.destroy();
  await until(() => client.closed || client.ended, 'the end');
  expect([requests, attempts, pending()]).toEqual([[[200, 'response-lost']], ['ok'], 0]);
});

test('a refused connect is tried again at another endpoint, whatever the method', async () => {
  const gone = createServer();
  const dead = await listen(gone);
  gone.close();
  const { client, servers, attempts, requests, pending } = await bench({ before: [dead] });
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody');
  await until(() => servers[0]?.text.endsWith('body') === true, 'the request');
  servers[0]!.write(ok('done'));
  await client.reads('done');
  expect([attempts, requests, pending()]).toEqual([['connect-failed', 'ok'], [[200, undefined]], 0]);
});

test.each([
  ['GET', 200],
  ['POST', 502],
])('%s on a reused connection that dies ends in %d', async (method, status) => {
  const { client, servers, pending } = await bench();
  client.write(get('/one'));
  await until(() => servers[0]?.text.includes('/one') === true, 'the first request');
  servers[0]!.write(ok('one'));
  await client.reads('one');
  client.text = '';
  client.write(`${method} /two HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`);
  await servers[0]!.reads('/two');
  servers[0]!.socket.resetAndDestroy();
  if (status === 200) {
    await until(() => servers[1]?.text.includes('/two') === true, 'the second try');
    servers[1]!.write(ok('two'));
  }
  await client.reads(status === 200 ? 'two' : '[mesh response-lost]');
  expect(client.text.startsWith(`HTTP/1.1 ${status} `)).toBe(true);
  expect(pending()).toBe(0);
});

test.each([
  ['GET / HTTP/1.1\r\n\r\n', 400, 'host-missing'],
  ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400, 'host-repeated'],
  ['GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n', 400, 'host-conflict'],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx', 400, 'length-repeated'],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx', 400, 'bad-length'],
  [
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'length-and-chunked',
  ],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n', 400, 'bad-transfer-encoding'],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', 501, 'unknown-transfer-encoding'],
  ['POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400, 'transfer-encoding-in-http-1-0'],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n', 400, 'bad-header-name'],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n', 400, 'bad-chunk'],
  ['GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n', 400, 'folded-header'],
  ['GET / HTTP/1.1\nHost: a\n\n', 400, 'bare-lf'],
  ['GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505, 'bad-version'],
  ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 405, 'method-refused'],
  [get('/', `X: ${'x'.repeat(65 << 10)}\r\n`), 431, 'head-too-large'],
])('%.70j gets %d and the server 0 bytes', async (request, status, code) => {
  const { client, servers, refused } = await bench();
  client.write(request);
  await until(() => client.ended || client.closed, 'the end');
  expect(client.text.startsWith(`HTTP/1.1 ${status} `)).toBe(true);
  expect(client.text).toContain(`[mesh ${code}]`);
  expect([refused, servers.map((peer) => peer.text).join('')]).toEqual([[code], '']);
});

test('a malformed request after a HEAD still gets a body with its error', async () => {
  const { client, servers } = await bench();
  client.write('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => servers[0]?.text.endsWith('\r\n\r\n') === true, 'the request');
  servers[0]!.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n');
  await client.reads('\r\n\r\n');
  client.write('\r\n\r\n\r\n');
  await client.reads('[mesh bad-request-line]');
});

test('a large response to a slow reader waits at the server', async () => {
  const size = 50 << 20;
  let sent = 0;
  const { client, servers } = await bench({
    onServer: (peer) => {
      const block = Buffer.alloc(64 << 10, 'x');
      const more = (): void => {
        while (sent < size) {
          sent += block.length;
          if (!peer.socket.write(block)) return;
        }
      };
      peer.socket.once('data', () => {
        peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        peer.socket.on('drain', more);
        more();
      });
    },
  });
  client.socket.removeAllListeners('data');
  let received = 0;
  client.socket.pause();
  client.write(get('/large'));
  // Nothing moves any more: all buffers on the way are full.
  let last = -1;
  let still = 0;
  await until(() => {
    still = sent === last && sent > 0 ? still + 1 : 0;
    last = sent;
    return still > 40;
  }, 'a standstill');
  expect(servers.length).toBe(1);
  // The kernel's buffers of two loopback connections hold some MB each; the proxy must add next to nothing.
  expect(sent).toBeLessThan(size / 2);
  client.socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  client.socket.resume();
  await until(() => received > size, 'the whole body');
});
