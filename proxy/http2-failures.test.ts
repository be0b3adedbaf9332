/** HTTP/2 through two proxies, on loopback, when servers refuse, break off, end or are not there. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import { expect, test } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import { maxWindow } from './http2/frames.ts';
import { ask, dialHttp2 } from './test-http2.ts';
import { cleanup, respond, serve, served, useMesh } from './test-http2-mesh.ts';
import { ips, mesh, publish } from './test-mesh.ts';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;

useMesh();

test('a response cut off by its server’s death is a reset, never a whole one', async () => {
  const setup = await serve((_, stream) => {
    stream.respond({ ':status': 200, 'content-length': 100 });
    stream.write('half', () => setImmediate(() => stream.session!.destroy()));
  });
  expect(await ask(setup.session)).toMatchObject({ status: 200, code: NGHTTP2_INTERNAL_ERROR });
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
