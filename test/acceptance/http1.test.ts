/** HTTP/1 through two real proxies, byte by byte: the test is both the client and the application. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Peer } from '../../proxy/test-peer.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { type Application, type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';
import { dialFrom, type PodPeer } from '../support/sockets.ts';

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: web\r\n${more}\r\n`;
const ok = (body: string, more = '') => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;
const chunked = '5;x="y z"\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n';

describe.skipIf(unable)('HTTP/1', () => {
  let mesh: TestMesh;
  let meshed: PodObject;
  let plain: PodObject;
  let address: string;
  let application: Application;
  /** Connections of the application; idle ones live on from test to test, as the proxy's pool has them. */
  let servers: PodPeer[] = [];
  /** What the application does with what it has read. */
  let onServerData: (peer: PodPeer) => void;
  const clients: PodPeer[] = [];

  beforeAll(async () => {
    mesh = await installMesh('http1');
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8000 }] },
    };
    const idle = ['sleep', 'infinity'];
    const documents = [workload('client', idle), workload('web', idle), JSON.stringify(service)];
    await mesh.apply(documents.join('\n---\n'), true);
    await mesh.apply(workload('plain', idle), false);
    const apps = ['client', 'web', 'plain'];
    const [client, web, outside] = (await Promise.all(apps.map((app) => mesh.ready(app)))).map(([pod]) => pod!);
    [meshed, plain] = [client!, outside!];
    address = await mesh.address('web');
    application = await mesh.serve(web!, 8000, (socket) => {
      const peer = new Peer(socket);
      servers.push(peer);
      socket.on('data', () => onServerData(peer));
    });
  });
  afterAll(async () => {
    for (const peer of servers) peer.socket.destroy();
    application?.close();
    expect((await mesh?.uninstall()) ?? []).toEqual([]);
  });
  beforeEach(() => {
    servers = servers.filter((peer) => !peer.closed);
    for (const peer of servers) peer.text = '';
    onServerData = () => {};
  });
  afterEach(() => {
    for (const peer of clients.splice(0)) peer.socket.destroy();
  });

  function dial(from = meshed): PodPeer {
    const peer = dialFrom(mesh, from, address, 80);
    clients.push(peer);
    return peer;
  }
  /** The application's connection that carries a text. */
  const carrying = (text: string) =>
    until(`${JSON.stringify(text)} at the application`, () => servers.find((peer) => peer.text.includes(text)), 8);

  /** Answers every request with its path. */
  function echoPath(peer: PodPeer): void {
    const requests = peer.text.split('\r\n\r\n');
    peer.text = requests.pop()!;
    for (const request of requests) peer.write(ok(request.split(' ')[1]!));
  }

  test('Expect: 100-continue: the body waits for the server', async () => {
    const client = dial();
    client.write('PUT /file HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    const server = await carrying('/file');
    expect(server.text).toMatch(/^Expect: 100-continue\r$/m);
    server.write('HTTP/1.1 100 Continue\r\n\r\n');
    await client.reads('100 Continue\r\n\r\n');
    client.write('body');
    await server.reads('body');
    server.write(ok('stored'));
    expect(await client.reads('stored')).toBe(`HTTP/1.1 100 Continue\r\n\r\n${ok('stored')}`);
  });

  test('Expect: 100-continue: a server that refuses is heard before any body', async () => {
    const client = dial();
    client.write('PUT /no HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    (await carrying('/no')).write('HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n');
    expect(await client.reads('\r\n\r\n')).toMatch(/^HTTP\/1\.1 417 Expectation Failed\r\n/);
  });

  test('interim responses pass in order', async () => {
    const client = dial();
    client.write(get('/hints'));
    const hints = 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nLink: </b.css>\r\n\r\n';
    const server = await carrying('/hints');
    server.write(hints);
    await client.reads('b.css>\r\n\r\n');
    server.write(ok('done'));
    expect(await client.reads('done')).toBe(hints + ok('done'));
  });

  test.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'],
    ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "1"\r\n\r\n'],
  ])('%s answered by %j: the connection goes on', async (method, response) => {
    const client = dial();
    client.write(`${method} /bodiless HTTP/1.1\r\nHost: web\r\n\r\n`);
    (await carrying('/bodiless')).write(response);
    expect(await client.reads('\r\n\r\n')).toBe(response);
    client.write(get('/next'));
    (await carrying('/next')).write(ok('more'));
    expect(await client.reads('more')).toBe(response + ok('more'));
  });

  test('chunked bodies with extensions and trailers arrive as they were sent', async () => {
    const client = dial();
    const head = 'POST /chunks HTTP/1.1\r\nhOST: web\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n';
    for (const part of [head, ...chunked]) client.write(part);
    const server = await carrying('/chunks');
    expect(await server.reads('X-More: 2\r\n\r\n')).toBe(head + chunked);
    const answer = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n';
    for (const part of [answer, ...chunked]) server.write(part);
    expect(await client.reads('X-More: 2\r\n\r\n')).toBe(answer + chunked);
  });

  test('pipelined requests are answered in order', async () => {
    onServerData = echoPath;
    const client = dial();
    const paths = Array.from({ length: 50 }, (_, i) => `/p${i}`);
    client.write(paths.map((path) => get(path)).join(''));
    expect(await client.reads('/p49')).toBe(paths.map((path) => ok(path)).join(''));
  });

  test('header names, values, order and duplicates stay as they are', async () => {
    const client = dial();
    const head =
      'GET /h HTTP/1.1\r\nX-B: 1\r\nHost: web\r\nx-a:\t2  \r\nX-B: \xe9\r\nCookie: a=1; b=2\r\nCookie: c\r\n\r\n';
    client.write(head);
    const server = await carrying('/h');
    expect(server.text).toBe(head);
    const answer = 'HTTP/1.1 299 Fine by me\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n';
    server.write(answer);
    expect(await client.reads('\r\n\r\n')).toBe(answer);
  });

  test('an answer that comes before the upload ends is heard, and ends the connection', async () => {
    const client = dial();
    client.write('POST /early HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\npart');
    const server = await carrying('part');
    server.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
    await client.over();
    expect(client.text).toMatch(/^HTTP\/1\.1 413 .*\r\nConnection: close\r\n\r\nbig$/s);
    await server.over();
  });

  test('heads of 60 KiB pass both ways', async () => {
    const client = dial();
    const long = `X-Long: ${'a'.repeat(60 << 10)}\r\n`;
    client.write(get('/long', long));
    const server = await carrying('/long');
    await server.reads('\r\n\r\n');
    expect(server.text).toBe(get('/long', long));
    server.write(ok('long', long));
    await until('the response', () => client.text.endsWith('\r\n\r\nlong'), 8);
    expect(client.text).toBe(ok('long', long));
  });

  test.each([
    ['absolute-form', 'GET http://web/abs HTTP/1.1\r\nHost: web\r\n\r\n', 'http://web/abs HTTP/1.1'],
    ['asterisk-form', 'OPTIONS * HTTP/1.1\r\nHost: web\r\nX: /abs\r\n\r\n', 'OPTIONS * HTTP/1.1'],
    ['an empty line before the request', `\r\n${get('/abs')}`, 'GET /abs HTTP/1.1'],
    ['an unknown method', 'PROPFIND /abs HTTP/1.1\r\nHost: web\r\n\r\n', 'PROPFIND /abs HTTP/1.1'],
  ])('%s is passed on', async (_, request, line) => {
    const client = dial();
    client.write(request);
    const server = await carrying(line);
    server.write(ok('fine'));
    expect(await client.reads('fine')).toBe(ok('fine'));
  });

  test('Connection: close of the client ends its connection, not the answer', async () => {
    onServerData = echoPath;
    const client = dial();
    client.write(get('/last', 'Connection: close\r\n'));
    await client.over();
    expect(client.text).toBe('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n/last');
  });

  test('a client that ends its side behind its requests gets all answers', async () => {
    onServerData = echoPath;
    const client = dial();
    client.socket.end(get('/first') + get('/final'));
    await client.over();
    expect(client.text).toMatch(/\/first.*\/final$/s);
  });

  test('Connection: close of the server is no matter of the client', async () => {
    const used = new Set<PodPeer>();
    onServerData = (peer) => {
      used.add(peer);
      peer.socket.end(ok('bye', 'Connection: close\r\n'));
    };
    const client = dial();
    for (let i = 1; i <= 3; i++) {
      client.write(get(`/${i}`));
      await until('the answer', () => client.text.split('bye').length > i, 8);
    }
    expect(client.text).toBe(ok('bye').repeat(3));
    expect(used.size).toBe(3);
  });

  test('headers that Connection names, and TE beyond trailers, go no further', async () => {
    const client = dial();
    client.write(get('/hop', 'Connection: x-mine, TE\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nX-Theirs: 2\r\n'));
    const server = await carrying('/hop');
    expect(server.text).toBe(get('/hop', 'X-Theirs: 2\r\n'));
    server.write(ok('hop'));
    await client.reads('hop');
    client.write(get('/te', 'Connection: TE\r\nTE: trailers\r\n'));
    expect((await carrying('/te')).text).toContain(get('/te', 'TE: trailers\r\n'));
  });

  test('an HTTP/1.0 client: closed after the answer, unless it asked to go on', async () => {
    onServerData = echoPath;
    const once = dial();
    once.write('GET /once HTTP/1.0\r\n\r\n');
    await once.over();
    expect(once.text).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\/once$/s);
    const kept = dial();
    for (const path of ['/kept1', '/kept2']) {
      kept.write(`GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
      await kept.reads(path);
    }
    expect(kept.text).toMatch(/^Connection: keep-alive\r$/m);
    expect(kept.ended).toBe(false);
  });

  test('an HTTP/1.0 server: its body ends with its connection', async () => {
    onServerData = (peer) => void peer.socket.end('HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end');
    const client = dial();
    client.write(get('/old'));
    await client.over();
    expect(client.text).toMatch(/^HTTP\/1\.0 200 OK\r\nServer: old\r\nConnection: close\r\n\r\nuntil the end$/);
  });

  test('an upgrade with bytes directly behind both heads', async () => {
    const client = dial();
    client.write(`${get('/chat', 'Connection: Upgrade\r\nUpgrade: chat\r\n')}first words`);
    const server = await carrying('/chat');
    const answer = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n';
    server.write(`${answer}welcome`);
    expect(await client.reads('welcome')).toBe(`${answer}welcome`);
    await server.reads('first words');
    client.socket.end('last words');
    await server.reads('last words');
    await until('the end at the server', () => server.ended, 8);
    server.socket.end('goodbye');
    await client.reads('goodbye');
    await until('the end at the client', () => client.ended, 8);
  });

  const ambiguous: [string, number][] = [
    ['GET / HTTP/1.1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400],
    ['GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', 501],
    ['POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400],
    ['GET / HTTP/1.1\nHost: a\n\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\n: nameless\r\n\r\n', 400],
    ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 400],
    ['GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['GET / HTTP/1.2\r\nHost: a\r\n\r\n', 505],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n', 400],
    [get('/', `X: ${'x'.repeat(65 << 10)}\r\n`), 431],
    [get('/', 'X: 1\r\n'.repeat(300)), 431],
  ];
  describe.each([
    ['a meshed client', () => meshed],
    ['a client without a proxy', () => plain],
  ])('%s is refused', (_, from) => {
    test.each(ambiguous.map(([request, status]) => [JSON.stringify(request).slice(0, 90), status, request] as const))(
      '%s: %d, and the application sees nothing',
      async (_, status, request) => {
        const client = dial(from());
        client.write(request);
        await client.over();
        expect(client.text.slice(0, 13)).toBe(`HTTP/1.1 ${status} `);
        expect(client.text).toMatch(/\[mesh [a-z0-9-]+\]\n$/);
        expect(servers.map((peer) => peer.text)).toEqual(servers.map(() => ''));
      },
    );
  });

  test.each([
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
    'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n',
    'hello\r\n',
  ])('the ambiguous response %j is not passed on', async (response) => {
    const client = dial();
    client.write('POST /bad HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n');
    (await carrying('/bad')).write(response);
    expect(await client.reads('[mesh ')).toMatch(/^HTTP\/1\.1 502 .*\[mesh bad-response\]\n$/s);
  });
});
