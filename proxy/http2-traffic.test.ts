/** HTTP/2 from an application through two proxies to another, on loopback. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2, { type ClientHttp2Session, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type net from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import { maxWindow } from './http2/frames.ts';
import { answerOf, ask, dialHttp2, http2Server } from './test-http2.ts';
import { idOf, ips, mesh, meshed, publish, reports, startApps, startMesh, stopMesh, unmeshed } from './test-mesh.ts';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;
const within = { timeout: 8_000 };
const cleanup: (() => void)[] = [];
let services = 10;

beforeAll(() => startMesh());
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});
afterAll(stopMesh);

interface Setup {
  session: ClientHttp2Session;
  /** Sessions that each address has had open now. */
  sessions: Map<string, Set<ServerHttp2Session>>;
  close(ip: string): void;
}

/** Servers on all addresses, behind one service, and a client of it. */
async function serve(
  onStream: (ip: string, stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  { plain = false, count = ips.length, options = {} as http2.ServerOptions } = {},
): Promise<Setup> {
  const sessions = new Map<string, Set<ServerHttp2Session>>();
  const made = new Map<string, net.Server>();
  const { port, servers } = await startApps((ip) => {
    const one = http2Server((stream, headers) => onStream(ip, stream, headers), options);
    sessions.set(ip, one.sessions);
    made.set(ip, one.server);
    return one.server;
  });
  mesh.destination = formatAddress(`10.96.1.${services++}`, 80);
  const endpoint = plain ? unmeshed : meshed;
  publish(
    mesh.destination,
    ips.slice(0, count).map((ip) => endpoint(ip, port)),
  );
  const session = await dialHttp2(mesh.client.ports.outbound);
  cleanup.push(() => {
    session.destroy();
    for (const one of servers) one.close();
    for (const one of sessions.values()) for (const peer of one) peer.destroy();
  });
  const close = (ip: string) => {
    made.get(ip)!.close();
    for (const peer of sessions.get(ip)!) peer.destroy();
  };
  return { session, sessions, close };
}

/** Sessions of the first address, once there is one. */
async function served({ session, sessions }: Setup): Promise<ServerHttp2Session[]> {
  await ask(session);
  return [...sessions.get(ips[0]!)!];
}

const respond = (stream: ServerHttp2Stream, body: string | Buffer, headers = {}) => {
  stream.respond({ ':status': 200, ...headers });
  stream.end(body);
};

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

test('a response cut off by its server’s death is a reset, never a whole one', async () => {
  const setup = await serve((_, stream) => {
    stream.respond({ ':status': 200, 'content-length': 100 });
    stream.write('half', () => setImmediate(() => stream.session!.destroy()));
  });
  expect(await ask(setup.session)).toMatchObject({ status: 200, code: NGHTTP2_INTERNAL_ERROR });
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

test('refused streams and lost connections go to another endpoint, as far as that is safe', async () => {
  const { session } = await serve((ip, stream) => {
    if (ip !== ips[0]) return respond(stream, ip);
    if (stream.id! > 5) return stream.session!.destroy();
    stream.close(NGHTTP2_REFUSED_STREAM);
  });
  for (let i = 0; i < 30; i++) {
    const body = i % 2 ? Buffer.from('content') : undefined;
    const answer = await ask(session, body ? { ':method': 'PUT' } : {}, body);
    expect(answer.status).toBe(200);
    expect(ips.slice(1)).toContain(String(answer.body));
  }
});

test.each([
  ['meshed', false],
  ['unmeshed', true],
])('%s endpoints killed under load cost no request', async (_, plain) => {
  const setup = await serve((ip, stream) => respond(stream, ip), { plain });
  let done = 0;
  const statuses = new Map<number, number>();
  const worker = async () => {
    for (let i = 0; i < 50; i++) {
      const { status } = await ask(setup.session);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (++done === 100) setup.close(ips[1]!);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  expect(statuses).toEqual(new Map([[200, 400]]));
});

test.each([
  ['meshed', false],
  ['unmeshed', true],
])('calls that may not be sent twice go past a dead %s endpoint', async (_, plain) => {
  const setup = await serve((ip, stream) => void stream.resume().on('end', () => respond(stream, ip)), { plain });
  await ask(setup.session, {}, Buffer.from('call'));
  setup.close(ips[1]!);
  for (let i = 0; i < 40; i++) {
    const answer = await ask(setup.session, {}, Buffer.from('call'));
    expect(answer.status).toBe(200);
    expect(String(answer.body)).not.toBe(ips[1]);
  }
});

test('a server that says GOAWAY gets no new requests there and loses none', async () => {
  const setup = await serve((ip, stream) => respond(stream, ip), { count: 1 });
  for (let i = 0; i < 20; i++) {
    const answers = Promise.all(Array.from({ length: 5 }, () => ask(setup.session, {}, Buffer.from('call'))));
    for (const one of setup.sessions.get(ips[0]!)!) one.close();
    for (const { status } of await answers) expect(status).toBe(200);
  }
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

test('nobody listens: an error that names the cause, for gRPC as a status', async () => {
  const setup = await serve(() => {}, { count: 1, plain: true });
  setup.close(ips[0]!);
  const answer = await ask(setup.session);
  expect(answer.status).toBe(502);
  expect(answer.headers['mesh-error']).toMatch(/^connect-failed; /);
  expect(String(answer.body)).toContain('[mesh connect-failed]');
  const call = await ask(
    setup.session,
    { ':method': 'POST', 'content-type': 'application/grpc+proto' },
    Buffer.alloc(5),
  );
  expect(call.headers).toMatchObject({
    ':status': 200,
    'content-type': 'application/grpc',
    'grpc-status': '14',
    'grpc-message': expect.stringContaining('[mesh connect-failed]'),
    'mesh-error': expect.stringMatching(/^connect-failed; /),
  });
  expect(call.body.length).toBe(0);
});

test('a service without endpoints is told so', async () => {
  mesh.destination = formatAddress('10.96.1.2', 80);
  publish(mesh.destination, []);
  const session = await dialHttp2(mesh.client.ports.outbound);
  cleanup.push(() => session.destroy());
  expect(await ask(session)).toMatchObject({ status: 503, headers: { 'mesh-error': /^no-endpoints/ } });
});

test('one client’s cancels do not end the connection that others share', async () => {
  let begun = 0;
  const { session } = await serve(
    (ip, stream, headers) => {
      begun++;
      if (headers[':path'] === '/wait') stream.respond({ ':status': 200 });
      else respond(stream, ip);
    },
    { count: 1 },
  );
  const other = await dialHttp2(mesh.client.ports.outbound);
  cleanup.push(() => other.destroy());
  const held = other.request({ ':authority': 'web.shop', ':path': '/wait' });
  let lost = false;
  held
    .on('error', () => {})
    .on('close', () => {
      lost = true;
    });
  await once(held, 'response');
  for (let i = 0; i < 900; i += 50) {
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const request = session.request({ ':authority': 'web.shop', ':path': '/wait' });
        request.on('error', () => {});
        await once(request, 'response');
        request.close(NGHTTP2_CANCEL);
      }),
    );
  }
  expect(begun).toBeGreaterThan(900);
  expect((await ask(other, { ':path': '/here' })).status).toBe(200);
  expect(lost).toBe(false);
});

test('interim responses without end are a bad response', async () => {
  const { session } = await serve(
    (_, stream) => {
      for (let i = 0; i < 100 && !stream.destroyed; i++) stream.additionalHeaders({ ':status': 103 });
      stream.respond({ ':status': 200 }, { endStream: true });
    },
    { count: 1 },
  );
  expect(await ask(session)).toMatchObject({ status: 502, headers: { 'mesh-error': /^bad-response; / } });
});

test('an application that ends its connection ends that of a client without a proxy, in order', async () => {
  const setup = await serve((ip, stream) => respond(stream, ip), { count: 1 });
  const [peer] = await served(setup);
  mesh.destination = formatAddress(ips[0]!, peer!.socket.localPort!);
  const session = await dialHttp2(mesh.server.ports.inbound);
  cleanup.push(() => session.destroy());
  expect((await ask(session)).status).toBe(200);
  const gone = once(session, 'goaway');
  for (const one of setup.sessions.get(ips[0]!)!) one.close();
  expect((await gone).slice(0, 2)).toEqual([NGHTTP2_NO_ERROR, maxWindow]);
});

test('a request with content that one endpoint refuses half read arrives whole at another', async () => {
  const digests: string[] = [];
  const { session } = await serve((ip, stream) => {
    const hash = createHash('sha256');
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
      // A second try starts from nothing, with windows partly given back.
      if (ip === ips[0] && bytes > 20_000) stream.close(NGHTTP2_REFUSED_STREAM);
    });
    stream.on('end', () => {
      digests.push(hash.digest('hex'));
      respond(stream, ip);
    });
  });
  for (let i = 0; i < 12; i++) {
    const body = randomBytes(60_000);
    expect(await ask(session, {}, body)).toMatchObject({ status: 200, code: NGHTTP2_NO_ERROR });
    expect(digests.at(-1)).toBe(createHash('sha256').update(body).digest('hex'));
  }
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
