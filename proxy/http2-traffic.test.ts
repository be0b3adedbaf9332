/** HTTP/2 from an application through two proxies to another, on loopback: what passes, and how. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { answerOf, ask, dialHttp2 } from './test-http2.ts';
import { cleanup, respond, serve, useMesh, within } from './test-http2-mesh.ts';
import { idOf, ips, mesh, reports } from './test-mesh.ts';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

useMesh();

test.each([
  ['meshed', false],
  ['unmeshed', true],
])('requests of one connection are spread over all %s endpoints', async (_, plain) => {
  const { session, sessions } = await serve((ip, stream) => respond(stream, ip), { plain });
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask(session)));
  expect(new Set(answers.map((one) => one.status))).toEqual(new Set([200]));
  expect([...new Set(answers.map((one) => String(one.body)))].sort()).toEqual(ips);
  // Pooled: few connections for many requests.
  for (const one of sessions.values()) expect(one.size).toBe(1);
});

test('both ends count each request, with the client’s identity', async () => {
  const { session } = await serve((_, stream) => respond(stream, 'here'));
  const counted = () =>
    [mesh.client, mesh.server].map(({ telemetry }) =>
      [...telemetry.all]
        .filter(({ key }) => key.protocol === 'http' && key.tls === 'mtls')
        .reduce((sum, one) => sum + one.requests, 0),
    );
  await ask(session);
  const before = counted();
  for (let i = 0; i < 10; i++) await ask(session);
  expect(counted()).toEqual(before.map((count) => count + 10));
  await vi.waitFor(() => {
    const inbound = reports.flatMap((report) => report.series).filter((one) => one.direction === 'inbound');
    expect(inbound.find((one) => one.requests > 0 && one.latency.length > 0)).toMatchObject({
      peer: { namespace: 'shop', kind: 'deployment', name: 'cart' },
      peerIdentity: idOf('cart'),
      failures: 0,
    });
  }, within);
});

test('headers, interim responses and trailers pass both ways in order; secrets stay marked', async () => {
  let seen: string[] = [];
  let secret: string[] = [];
  let trailer: http2.IncomingHttpHeaders = {};
  const { session } = await serve((_, stream, headers) => {
    seen = Object.keys(headers);
    secret = (headers as { [http2.sensitiveHeaders]?: string[] })[http2.sensitiveHeaders] ?? [];
    stream.on('trailers', (trailers) => {
      trailer = trailers;
    });
    stream.resume();
    stream.on('end', () => {
      stream.additionalHeaders({ ':status': 103, link: '</style.css>' });
      stream.respond({ ':status': 201, 'x-b': '1', 'x-a': ['2', '3'] }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }));
      stream.end('body');
    });
  });
  const interim: number[] = [];
  const request = session.request(
    {
      ':method': 'POST',
      ':authority': 'web.shop',
      ':path': '/a?b=%20c',
      te: 'trailers',
      'x-token': 'secret',
      cookie: ['a=1', 'b=2'],
      [http2.sensitiveHeaders]: ['x-token'],
    } as http2.OutgoingHttpHeaders,
    { endStream: false, waitForTrailers: true } as http2.ClientSessionRequestOptions,
  );
  request.on('headers', (headers) => interim.push(Number(headers[':status'])));
  request.on('wantTrailers', () => request.sendTrailers({ 'x-check': 'def' }));
  const answer = await answerOf(request, Buffer.from('content'));
  expect(interim).toEqual([103]);
  expect(answer).toMatchObject({ status: 201, trailers: { 'x-sum': 'abc' } });
  expect(Object.keys(answer.headers).filter((name) => name.startsWith('x-'))).toEqual(['x-b', 'x-a']);
  expect(answer.headers['x-a']).toBe('2, 3');
  expect(trailer['x-check']).toBe('def');
  expect(seen.filter((name) => ['te', 'x-token', 'cookie'].includes(name))).toEqual(['te', 'x-token', 'cookie']);
  expect(secret).toContain('x-token');
});

test('HEAD, 204 and 304 have no content, and keep their headers', async () => {
  const { session } = await serve((_, stream, headers) => {
    const status = Number(headers['x-want']);
    const length = status === 204 ? {} : { 'content-length': 20 };
    stream.respond({ ':status': status, 'x-kept': 'yes', ...length }, { endStream: true });
  });
  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ] as const) {
    const answer = await ask(session, { ':method': method, 'x-want': String(status) });
    expect(answer).toMatchObject({ status, code: NGHTTP2_NO_ERROR });
    expect(answer.headers['x-kept']).toBe('yes');
    if (status !== 204) expect(answer.headers['content-length']).toBe('20');
    expect(answer.body.length).toBe(0);
  }
});

test('8 MiB there and back arrive whole', async () => {
  const { session } = await serve((_, stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  const sent = randomBytes(8 << 20);
  const { body } = await ask(session, {}, sent);
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  expect(body.length).toBe(sent.length);
  expect(digest(body)).toBe(digest(sent));
});

test('a reader that stops reading stops its sender, and nobody else', async () => {
  let written = 0;
  const { session } = await serve(
    (ip, stream, headers) => {
      if (headers[':path'] !== '/endless') return respond(stream, ip);
      stream.respond({ ':status': 200 });
      const push = () => {
        while (!stream.destroyed && stream.write(Buffer.alloc(16_384))) written += 16_384;
        stream.once('drain', push);
      };
      push();
    },
    { count: 1 },
  );
  const stalled = session.request({ ':authority': 'web.shop', ':path': '/endless' });
  stalled.on('error', () => {}).pause();
  await once(stalled, 'response');
  let before = -1;
  await vi.waitFor(
    () => {
      const still = written === before;
      before = written;
      expect(still).toBe(true);
    },
    { ...within, interval: 300 },
  );
  // Windows of every hop and what Node's own streams hold; far from endless.
  expect(written).toBeLessThan(2 << 20);
  const other = await dialHttp2(mesh.client.ports.outbound);
  cleanup.push(() => other.destroy());
  expect((await ask(other)).status).toBe(200);
  expect((await ask(session)).status).toBe(200);
});

test('a server that does not read stops the client', async () => {
  const { session } = await serve((_, stream) => void stream.pause(), { count: 1 });
  const request = session.request({ ':method': 'POST', ':authority': 'web.shop', ':path': '/' });
  request.on('error', () => {});
  let written = 0;
  let full = false;
  while (!full) {
    full = !request.write(Buffer.alloc(16_384));
    written += 16_384;
    if (full) full = !(await Promise.race([once(request, 'drain').then(() => true), timeout(500)]));
  }
  expect(written).toBeLessThan(2 << 20);
});

const timeout = (ms: number) => new Promise<false>((resolve) => setTimeout(() => resolve(false), ms));

test('a cancel reaches the server, and a reset the client, each with its code', async () => {
  const codes: number[] = [];
  const { session } = await serve((_, stream, headers) => {
    stream.on('close', () => codes.push(stream.rstCode));
    if (headers[':path'] === '/wait') stream.respond({ ':status': 200 });
    else stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
  const request = session.request({ ':authority': 'web.shop', ':path': '/wait' });
  request.on('error', () => {});
  await once(request, 'response');
  request.close(NGHTTP2_CANCEL);
  await vi.waitFor(() => expect(codes).toEqual([NGHTTP2_CANCEL]), within);
  expect((await ask(session)).code).toBe(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
});

test('an early response passes, and the rest of the request is not wanted', async () => {
  const { session } = await serve((_, stream) => {
    stream.respond({ ':status': 413 });
    stream.end('too much');
  });
  const request = session.request({ ':method': 'POST', ':authority': 'web.shop', ':path': '/' });
  const upload = setInterval(() => request.destroyed || request.write(Buffer.alloc(10_000)), 5);
  const answer = await answerOf(request);
  clearInterval(upload);
  expect(answer).toMatchObject({ status: 413, code: NGHTTP2_NO_ERROR });
  expect(String(answer.body)).toBe('too much');
});

test('the server’s limit of streams is kept: more connections, and a queue', async () => {
  let most = 0;
  const perSession = new Map<unknown, number>();
  const { session, sessions } = await serve(
    (ip, stream) => {
      const open = (perSession.get(stream.session) ?? 0) + 1;
      perSession.set(stream.session, open);
      most = Math.max(most, open);
      setTimeout(() => {
        perSession.set(stream.session, perSession.get(stream.session)! - 1);
        respond(stream, ip);
      }, 5);
    },
    { count: 1, plain: true, options: { settings: { maxConcurrentStreams: 4 } } },
  );
  expect((await ask(session)).status).toBe(200);
  const answers = await Promise.all(Array.from({ length: 150 }, () => ask(session)));
  expect(answers.filter((one) => one.status === 200).length).toBe(150);
  expect(most).toBeLessThanOrEqual(4);
  expect(sessions.get(ips[0]!)!.size).toBeGreaterThan(1);
  expect(sessions.get(ips[0]!)!.size).toBeLessThanOrEqual(64);
});

test('what is sent arrives, in whatever pieces and sizes it goes', async () => {
  const { session } = await serve((_, stream, headers) => {
    const parts: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => parts.push(chunk));
    stream.on('end', () => {
      const body = Buffer.concat(parts);
      const pieces = JSON.parse(String(headers['x-pieces'])) as number[];
      const trailer = headers['x-trailer'] === 'yes';
      stream.respond({ ':status': 200, 'x-length': String(body.length) }, { waitForTrailers: trailer });
      if (trailer) stream.on('wantTrailers', () => stream.sendTrailers({ 'x-digest': digest(body) }));
      let at = 0;
      for (const size of pieces) {
        stream.write(body.subarray(at, at + size));
        at += size;
      }
      stream.end(body.subarray(at));
    });
  });
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  const size = fc.oneof(fc.constant(0), fc.integer({ max: 10, min: 1 }), fc.integer({ max: 100_000, min: 1 }));
  const message = fc.record({ up: fc.array(size, { maxLength: 6 }), down: fc.array(size, { maxLength: 6 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(message, fc.boolean()), { minLength: 1, maxLength: 8 }), async (many) => {
      await Promise.all(
        many.map(async ([{ up, down }, trailer]) => {
          const body = randomBytes(up.reduce((sum, one) => sum + one, 0));
          const request = session.request({
            ':method': 'POST',
            ':authority': 'web.shop',
            ':path': '/',
            'x-pieces': JSON.stringify(down),
            'x-trailer': trailer ? 'yes' : 'no',
          });
          let at = 0;
          for (const one of up) {
            request.write(body.subarray(at, at + one));
            at += one;
          }
          const answer = await answerOf(request, body.subarray(at));
          expect(answer).toMatchObject({ status: 200, code: NGHTTP2_NO_ERROR });
          expect(answer.body.equals(body)).toBe(true);
          if (trailer) expect(answer.trailers['x-digest']).toBe(digest(body));
        }),
      );
    }),
    { numRuns: 40 },
  );
});
