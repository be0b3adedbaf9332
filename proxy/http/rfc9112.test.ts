/** What RFC 9110 and RFC 9112 ask of an intermediary, clause by clause; the parser's own rules stand in its own tests. */
import { setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { until } from '../test-peer.ts';
import { type Bench, bench, echoPaths, get, ok } from './test-bench.ts';

/** Sends a request and waits until the application has read a text of it. */
async function asked(one: Bench, request: string, part = '\r\n\r\n') {
  one.client.write(request);
  await until(() => one.servers.at(-1)?.text.includes(part) === true, `${JSON.stringify(part)} at the application`);
  return one.servers.at(-1)!;
}

const post = (more: string, body = '') => `POST /p HTTP/1.1\r\nHost: a\r\n${more}\r\n${body}`;
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);

describe('request target (RFC 9112 section 3.2)', () => {
  test.each([
    ['absolute-form is passed on as it is: every server has to take it', 'GET http://a/x?y HTTP/1.1'],
    ['asterisk-form is passed on', 'OPTIONS * HTTP/1.1'],
    ['an absolute target without a path is passed on', 'OPTIONS http://a HTTP/1.1'],
  ])('%s', async (_, line) => {
    const server = await asked(await bench(), `${line}\r\nHost: a\r\n\r\n`);
    expect(server.text).toBe(`${line}\r\nHost: a\r\n\r\n`);
  });

  test.each([
    ['authority-form without CONNECT', 'GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n', 400, 'bad-target'],
    ['asterisk-form without OPTIONS', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'bad-target'],
    ['an http URI without a host', 'GET http:///x HTTP/1.1\r\nHost:\r\n\r\n', 400, 'bad-target'],
    ['an http URI that is only a scheme', 'GET http:// HTTP/1.1\r\nHost:\r\n\r\n', 400, 'bad-target'],
    ['an https URI without a host', 'GET https://?q HTTP/1.1\r\nHost:\r\n\r\n', 400, 'bad-target'],
    ['an absolute target without Host, even in HTTP/1.0', 'GET http://a/ HTTP/1.0\r\n\r\n', 400, 'host-missing'],
    ['a fragment', 'GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'bad-request-line'],
    ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n', 405, 'method-refused'],
    ['a host with a byte that no host has', 'GET / HTTP/1.1\r\nHost: a"b\r\n\r\n', 400, 'bad-host'],
    ['a host outside ASCII', 'GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n', 400, 'bad-host'],
  ])('%s is refused', async (_, request, status, code) => {
    const { client, servers } = await bench();
    client.write(request);
    await until(() => client.ended, 'the end');
    expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} .*\\[mesh ${code}\\]\n$`, 's'));
    expect(servers).toEqual([]);
  });
});

describe('Expect: 100-continue (RFC 9110 section 10.1.1)', () => {
  const waiting = post('Expect: 100-continue\r\nContent-Length: 4\r\n');

  test('the body of a client that does not wait any longer goes on without a 100', async () => {
    const one = await bench();
    const server = await asked(one, waiting);
    one.client.write('body');
    await server.reads('body');
    server.write(ok('done'));
    await one.client.reads('done');
    expect(one.client.text).toBe(ok('done'));
    one.client.write(get('/next'));
    await server.reads('/next');
  });

  test('a final answer in place of the 100 is passed on and ends the connection: the body may or may not follow', async () => {
    const one = await bench();
    const server = await asked(one, waiting);
    server.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
    await until(() => one.client.ended, 'the end');
    expect(one.client.text).toBe('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    await until(() => server.ended || server.closed, 'the end at the server');
  });

  test('a body that follows a final answer is no request', async () => {
    const one = await bench();
    const server = await asked(one, post('Expect: 100-continue\r\nContent-Length: 40\r\n'));
    server.write('HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n');
    await one.client.reads('417');
    one.client.write(get('/smuggled').padEnd(40, ' '));
    await until(() => one.client.ended, 'the end');
    expect(one.servers.map((peer) => peer.text).join('')).not.toContain('smuggled');
  });
});

describe('interim responses (RFC 9110 section 15.2)', () => {
  test('64 go through, a server that sends more is cut off', async () => {
    const one = await bench();
    const server = await asked(one, get('/'));
    server.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(64));
    await until(() => one.client.text.split('102').length === 65, '64 interim responses');
    server.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(10_000));
    await one.client.reads('[mesh bad-response]');
    expect(one.client.text.split('102').length).toBe(65);
    expect(one.requests).toEqual([[0, 'bad-response']]);
  });

  test('each request has its own 64', async () => {
    const one = await bench();
    for (const path of ['/a', '/b']) {
      const server = await asked(one, get(path), path);
      server.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(50) + ok(path));
      await one.client.reads(path);
    }
    expect(one.requests).toEqual([
      [200, undefined],
      [200, undefined],
    ]);
  });
});

describe('upgrade (RFC 9110 section 7.8)', () => {
  const offer = (protocol: string) => get('/up', `Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`);

  test.each(['h2c', 'H2C', 'websocket, h2c'])(
    'the offer of %s is not passed on: HTTP/2 would go on unread',
    async (protocol) => {
      const one = await bench({ onServer: echoPaths });
      const more = 'Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n';
      const server = await asked(one, get('/up', `${more}Upgrade: ${protocol}\r\n`));
      expect(server.text).toBe(get('/up'));
      await one.client.reads('/up');
      one.client.write(get('/next'));
      await server.reads('/next');
    },
  );

  test.each([
    ['to HTTP/2', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'],
    ['without a name', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n'],
  ])('a switch %s is a bad response', async (_, response) => {
    const one = await bench();
    (await asked(one, offer('chat'))).write(response);
    await one.client.reads('[mesh bad-response]');
  });

  test('what a server says it could be upgraded to goes no further, unless it is the answer', async () => {
    const one = await bench();
    const could = (status: string) =>
      `HTTP/1.1 ${status}\r\nConnection: Upgrade\r\nUpgrade: chat\r\nContent-Length: 0\r\n\r\n`;
    (await asked(one, get('/one'))).write(could('200 OK'));
    await one.client.reads('\r\n\r\n');
    expect(one.client.text).toBe('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    one.client.text = '';
    (await asked(one, get('/two'), '/two')).write(could('426 Upgrade Required'));
    await one.client.reads('\r\n\r\n');
    expect(one.client.text).toBe(could('426 Upgrade Required'));
  });

  test('HTTP/1.0 cannot ask for one', async () => {
    const lines = 'Connection: keep-alive, Upgrade\r\nUpgrade: chat\r\n';
    const server = await asked(await bench(), `GET / HTTP/1.0\r\nHost: a\r\n${lines}\r\n`);
    expect(server.text).toBe('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
  });
});

describe('headers of one hop (RFC 9110 section 7.6)', () => {
  test('what Connection names stays behind, both ways; what frames the message does not', async () => {
    const one = await bench();
    const named = 'Connection: X-A, content-length, x-b\r\nX-A: 1\r\nx-B: 2\r\nX-C: 3\r\nKeep-Alive: 5\r\n';
    const server = await asked(one, post(`${named}Content-Length: 4\r\n`, 'body'), 'body');
    expect(server.text).toBe(post('X-C: 3\r\nContent-Length: 4\r\n', 'body'));
    server.write(ok('done').replace('\r\n\r\n', `\r\n${named}\r\n`));
    await one.client.reads('done');
    expect(one.client.text).toBe(ok('done').replace('\r\n\r\n', '\r\nX-C: 3\r\n\r\n'));
  });

  test.each([
    ['TRACE', '0'],
    ['OPTIONS', '1'],
  ])('a sidecar is no hop: %s goes on with Max-Forwards %s, and without Via', async (method, hops) => {
    const request = `${method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: ${hops}\r\n\r\n`;
    expect((await asked(await bench(), request)).text).toBe(request);
  });
});

describe('trailers (RFC 9110 section 6.5)', () => {
  const forbidden = ['Content-Length', 'transfer-encoding', 'HOST', 'Authorization', 'Cookie', 'Connection', 'TE'];

  test.each(forbidden)('%s is refused as the name of one, however it is split', async (name) => {
    for (const cut of [1, 3, 1000]) {
      const one = await bench();
      const bytes = chunked(`1\r\nx\r\n0\r\nX-A: 1\r\n${name}: 5\r\n\r\n`);
      for (let at = 0; at < bytes.length; at += cut) one.client.write(bytes.slice(at, at + cut));
      await one.client.reads('[mesh bad-trailer]');
      await until(() => one.servers.every((peer) => peer.ended || peer.closed), 'the end at the server');
      expect(one.servers.map((peer) => peer.text).join('')).not.toContain('\r\n\r\n1\r\nx\r\n0\r\nX-A: 1\r\n\r\n');
    }
  });

  test('a response with one of them is cut', async () => {
    const one = await bench();
    const server = await asked(one, get('/'));
    server.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n');
    await one.client.reads('x\r\n');
    server.write('0\r\nContent-Length: 5\r\n\r\n');
    await until(() => one.client.ended || one.client.closed, 'the end');
    expect(one.client.text).not.toContain('Content-Length');
  });

  test('others are kept, and names that begin like a forbidden one', async () => {
    const body = '0\r\nDigest: x\r\nHost-Name: y\r\nTE2: z\r\n\r\n';
    const server = await asked(await bench(), chunked(body), 'TE2: z\r\n\r\n');
    expect(server.text).toBe(chunked(body));
  });
});

describe('early responses (RFC 9112 section 9.3)', () => {
  test('a response that begins before the request ends passes with it, and the connection ends behind both', async () => {
    const one = await bench();
    const server = await asked(one, post('Content-Length: 8\r\n', 'half'), 'half');
    server.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\necho\r\n');
    await one.client.reads('echo');
    expect(one.client.text).toContain('Connection: close\r\n');
    one.client.write('rest');
    await server.reads('halfrest');
    server.write('0\r\n\r\n');
    await until(() => one.client.ended, 'the end');
    expect(one.client.text.endsWith('0\r\n\r\n')).toBe(true);
  });

  test('a response is heard although the server has reset the connection by then, and a write finds that out first', async () => {
    const one = await bench({ onServer: ({ socket }) => socket.once('data', () => socket.pause()) });
    const { socket } = await asked(one, post('Content-Length: 3000000\r\n', 'part'), 'part');
    // More than the application ever reads: its system resets what it closes.
    one.client.socket.write(Buffer.alloc(1 << 20));
    await until(() => socket.readableLength > 0, 'bytes that nobody reads');
    await setTimeout(50);
    one.client.write('more');
    // Between the read of what the client has just sent and its way on to the application.
    setImmediate(() => {
      socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
      socket.destroy();
    });
    await one.client.over();
    expect(one.client.text).toMatch(/^HTTP\/1\.1 413 .*\r\n\r\nbig$/s);
    expect(one.requests).toEqual([[413, undefined]]);
  });

  test('what a client goes on to send behind a complete response is read and thrown away', async () => {
    const one = await bench();
    const server = await asked(one, post('Content-Length: 3000000\r\n', 'part'), 'part');
    server.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n');
    await one.client.reads('413');
    one.client.socket.end(Buffer.alloc(2_999_996, get('/smuggled')));
    await until(() => one.client.closed || one.client.ended, 'the end');
    expect(one.client.error).toBeUndefined();
    expect(one.servers.length).toBe(1);
  });
});

describe('persistence (RFC 9112 section 9)', () => {
  test('three hundred pipelined requests are answered in order, over one connection', async () => {
    const one = await bench({ onServer: echoPaths });
    const paths = Array.from({ length: 300 }, (_, i) => `/p${i}`);
    one.client.write(paths.map((path) => get(path)).join(''));
    await one.client.reads('/p299');
    expect(one.client.text).toBe(paths.map((path) => ok(path)).join(''));
    expect(one.servers.length).toBe(1);
  });

  test('an HTTP/1.0 client is kept where it asks for it, and told so', async () => {
    const one = await bench();
    const request = 'GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n';
    (await asked(one, request)).write(ok('one'));
    await one.client.reads('one');
    expect(one.client.text).toContain('\r\nConnection: keep-alive\r\n');
    (await asked(one, request)).write(ok('two'));
    await one.client.reads('two');
  });

  test('a response that ends with its connection is whole where that ends in order', async () => {
    const one = await bench();
    (await asked(one, get('/'))).socket.end('HTTP/1.1 200 OK\r\n\r\nall of it');
    await until(() => one.client.ended, 'the end');
    expect(one.client.text).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it');
    expect([one.client.error, one.requests]).toEqual([undefined, [[200, undefined]]]);
  });

  test('a response that ends with its connection is cut where that is cut: its client hears of a reset', async () => {
    const one = await bench();
    const server = await asked(one, get('/'));
    server.write('HTTP/1.1 200 OK\r\n\r\nhalf of it');
    await one.client.reads('half of it');
    server.socket.resetAndDestroy();
    await until(() => one.client.closed, 'the end');
    expect([one.client.error, one.requests]).toEqual(['ECONNRESET', [[200, 'response-lost']]]);
  });

  test('bytes behind a response are not taken for the next one', async () => {
    const one = await bench();
    (await asked(one, get('/one'))).write(ok('one') + ok('forged'));
    await one.client.reads('one');
    const server = await asked(one, get('/two'), '/two');
    server.write(ok('two'));
    await one.client.reads('two');
    expect(one.client.text).toBe(ok('one') + ok('two'));
    expect(one.servers.length).toBe(2);
  });
});
