import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { expect, test, vi } from 'vitest';
import type { Http2Stream } from '../http2/stream.ts';
import { TestCa } from '../tls/test-ca.ts';
import { HboneServer } from './hbone-server.ts';
import { ca, connect, echo, id, open, startServer } from './test-hbone.ts';

/** What comes first; the bytes are good during their event only. */
const text = (stream: Http2Stream) =>
  new Promise((resolve) => stream.once('data', (bytes: Buffer) => resolve(bytes.toString())));

test('8 MiB come back whole, with a half-close between', async () => {
  const { server } = await startServer();
  const stream = await connect(server.port, ca.credentials(id('client'))).stream();
  const sent = randomBytes(8 << 20);
  stream.end(sent);
  const received: Buffer[] = [];
  for await (const chunk of stream) received.push(chunk as Buffer);
  expect(Buffer.concat(received).equals(sent)).toBe(true);
});

test.each([
  ['certificate-expired', () => ca.credentials(id('client'), -60)],
  ['unknown-issuer', () => new TestCa().credentials(id('client'), 600, ca)],
  ['wrong-trust-domain', () => ca.credentials(id('client', 'other.local'))],
  ['no-identity', () => ca.credentials('https://shop.example')],
])('the server refuses a client: %s', async (reason, credentials) => {
  const { server, refusals } = await startServer();
  await expect(connect(server.port, credentials()).stream()).rejects.toMatchObject({ retry: 'yes' });
  await vi.waitFor(() => expect(refusals).toEqual([reason]));
});

test('the server refuses a client without a certificate', async () => {
  const { server, refusals } = await startServer();
  const socket = tls.connect({
    port: server.port,
    host: '127.0.0.1',
    ca: ca.bundle,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  await once(socket, 'close');
  expect(refusals).toEqual(['no-certificate']);
});

test('bytes that are no handshake have a reason of their own', async () => {
  const { server, refusals } = await startServer();
  const socket = net.connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume().end('GET / HTTP/1.1\r\n\r\n');
  await once(socket, 'close');
  await vi.waitFor(() => expect(refusals).toEqual(['handshake-failed']));
});

test('no session is given out that could be resumed', async () => {
  const { server } = await startServer();
  const socket = tls.connect({
    port: server.port,
    host: '127.0.0.1',
    secureContext: ca.credentials(id('client')).context!,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  const sessions: Buffer[] = [];
  socket.on('session', (session: Buffer) => sessions.push(session));
  await once(socket, 'data'); // the HTTP/2 settings, which come after any ticket
  socket.destroy();
  const resumed = [];
  for (const session of sessions) {
    const again = tls.connect({
      port: server.port,
      host: '127.0.0.1',
      secureContext: ca.credentials(id('client')).context!,
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false,
      session,
    });
    await once(again, 'secureConnect');
    resumed.push(again.isSessionReused());
    again.destroy();
  }
  expect(resumed).not.toContain(true);
});

test('a peer that never answers a CONNECT is given up, and may be tried elsewhere', async () => {
  const { server } = await startServer(() => {});
  const client = connect(server.port, ca.credentials(id('client')), id('server'), '127.0.0.1:80', 300);
  await expect(client.stream()).rejects.toMatchObject({ code: 'connect-timeout', retry: 'yes' });
});

test('a trailer has no place in a tunnel, in either direction (RFC 9113 section 8.5)', async () => {
  const pem = { ...ca.credentials(id('server')).pem, allowHalfOpen: true };
  const { server } = await startServer();
  const socket = tls.connect({
    port: server.port,
    host: '127.0.0.1',
    ...pem,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  await once(socket, 'secureConnect');
  const session = http2.connect('https://127.0.0.1', { createConnection: () => socket });
  const request = session.request({ ':method': 'CONNECT', ':authority': '127.0.0.1:80' }, { waitForTrailers: true });
  request.on('wantTrailers', () => request.sendTrailers({ x: '1' })).on('error', () => {});
  await once(request, 'response');
  request.resume().end('bytes');
  await new Promise((resolve) => request.once('close', resolve));
  expect(request.rstCode).toBe(http2.constants.NGHTTP2_PROTOCOL_ERROR);
  session.destroy();

  const peer = http2.createSecureServer({ ...pem, requestCert: true, rejectUnauthorized: false });
  peer.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ x: '1' }));
    stream.end('bytes');
  });
  await once(peer.listen(0, '127.0.0.1'), 'listening');
  const stream = await connect((peer.address() as net.AddressInfo).port, ca.credentials(id('client'))).stream();
  stream.on('error', () => {}).resume();
  await vi.waitFor(() => expect(stream.resetCode).toBe(http2.constants.NGHTTP2_PROTOCOL_ERROR));
  peer.close();
});

test('the client refuses a server of another identity', async () => {
  const { server } = await startServer();
  const { stream, refused } = connect(server.port, ca.credentials(id('client')), id('other'));
  await expect(stream()).rejects.toMatchObject({
    code: 'identity-refused',
    message: expect.stringContaining('identity-mismatch'),
  });
  expect(refused).toEqual(['identity-mismatch']);
});

test.each([
  ['tls-version', { maxVersion: 'TLSv1.2' }],
  ['wrong-alpn', { ALPNProtocols: ['http/1.1'] }],
  ['wrong-alpn', {}],
] as const)('the server refuses a client: %s with %j', async (reason, options) => {
  const { server, refusals } = await startServer();
  const { pem } = ca.credentials(id('client'));
  const socket = tls.connect({ port: server.port, host: '127.0.0.1', ...pem, rejectUnauthorized: false, ...options });
  socket.on('error', () => {}).resume();
  await new Promise((resolve) => socket.on('close', resolve));
  expect(refusals).toEqual([reason]);
});

test.each([
  ['tls-version', { maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2', ALPNProtocols: ['h2'] }],
  ['wrong-alpn', { ALPNProtocols: ['http/1.1'] }],
  ['wrong-alpn', {}],
] as const)('the client refuses a server: %s with %j', async (reason, options) => {
  const server = tls.createServer({ ...ca.credentials(id('server')).pem, ...options, requestCert: true });
  server.on('tlsClientError', () => {}).on('secureConnection', (socket) => socket.on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const { stream, refused } = connect(port, ca.credentials(id('client')));
  await expect(stream()).rejects.toMatchObject({ code: 'identity-refused', retry: 'yes' });
  expect(refused).toEqual([reason]);
  server.close();
});

test('a foreign destination and a refusing application are connect failures', async () => {
  const { server } = await startServer((request) => request.refuse(503));
  // Only the address dialled may be asked for, so that the authority here is one of the pod's and the app refuses.
  await expect(connect(server.port, ca.credentials(id('client'))).stream()).rejects.toMatchObject({
    code: 'connect-failed',
    message: expect.stringContaining('503'),
  });
  const foreign = new HboneServer({
    credentials: ca.credentials(id('server')),
    trustDomain: 'cluster.local',
    podIps: ['10.244.0.5'],
    onTunnel: echo,
    onRefused: () => {},
  });
  open.push(foreign);
  await foreign.listen(0, '127.0.0.1');
  await expect(connect(foreign.port, ca.credentials(id('client'))).stream()).rejects.toThrow('400');
});

test('streams share a connection, and a renewed certificate takes a new one without breaking them', async () => {
  const { server } = await startServer();
  const credentials = ca.credentials(id('client'));
  const { stream } = connect(server.port, credentials);
  const [first, second] = await Promise.all([stream(), stream()]);
  expect(first!.session).toBe(second!.session);
  credentials.setCertified(ca.certify(id('client')));
  const third = await stream();
  expect(third.session).not.toBe(first!.session);
  first!.write('still here');
  expect(await text(first!)).toBe('still here');
});

test('a drained server finishes what it carries', async () => {
  const { server } = await startServer();
  const stream = await connect(server.port, ca.credentials(id('client'))).stream();
  server.drain();
  await vi.waitFor(() => expect(stream.session.usable).toBe(false));
  stream.end('last words');
  expect(await text(stream)).toBe('last words');
});

test('a peer that never reads holds the writer back', async () => {
  let held: Http2Stream | undefined;
  const { server } = await startServer((request) => {
    held = request.accept();
  });
  const stream = await connect(server.port, ca.credentials(id('client'))).stream();
  const chunk = Buffer.alloc(65536);
  const limit = 64 << 20;
  let written = 0;
  for (let stalled = false; !stalled && written < limit; ) {
    written += chunk.length;
    if (stream.write(chunk)) continue;
    stalled = await Promise.race([
      once(stream, 'drain').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(resolve, 300, true)),
    ]);
  }
  expect(held).toBeDefined();
  expect(written).toBeLessThan(8 << 20);
});
