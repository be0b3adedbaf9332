/** The HTTP/2 connection against Node's own (nghttp2), at either end, over real sockets. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import http2 from 'node:http2';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { hearLastWords } from '../net/last-words.ts';
import { connectionPair } from '../net/test-connection.ts';
import { errorCode, frame, shortFrame, uint32 } from './frames.ts';
import { encodeHeaders } from './hpack-encoder.ts';
import { Http2Session } from './session.ts';
import type { Http2SessionOptions } from './session-options.ts';
import { byteStream, type Http2Stream } from './stream.ts';

const settings = { streamWindow: 1 << 20, connectionWindow: 4 << 20, maxStreams: 10, maxHeaderListBytes: 16_384 };
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

async function listening(server: Server | http2.Http2Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanup.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Our server; `ended` holds the causes of ended connections. */
async function serve(onStream: NonNullable<Http2SessionOptions<Http2Stream>['onStream']>) {
  const sessions: Http2Session<Http2Stream>[] = [];
  const ended: (Error | undefined)[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    sessions.push(
      new Http2Session(socket, {
        role: 'server',
        settings,
        makeStream: byteStream,
        onStream: (stream, list, end) => {
          stream.on('error', () => {});
          onStream(stream, list, end);
        },
        onClose: (error) => ended.push(error),
      }),
    );
  });
  const port = await listening(server);
  const client = http2.connect(`http://127.0.0.1:${port}`);
  client.on('error', () => {});
  cleanup.push(() => client.destroy());
  return { port, client, sessions, ended };
}

/** Our client, at a server of Node's. */
async function dial(onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void) {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 50 } });
  const peers: http2.ServerHttp2Session[] = [];
  server.on('session', (session) => void peers.push(session));
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  const port = await listening(server);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const ended: (Error | undefined)[] = [];
  const goaways = { count: 0 };
  const session = new Http2Session(socket, {
    role: 'client',
    settings,
    makeStream: byteStream,
    onGoaway: () => goaways.count++,
    onClose: (error) => ended.push(error),
  });
  cleanup.push(() => session.destroy());
  const request = (path: string, more: string[] = []) => {
    const head = [':method', 'POST', ':scheme', 'http', ':authority', 'test', ':path', path, ...more];
    const answers: (readonly string[])[] = [];
    const stream = session.request(encodeHeaders(head));
    stream.onHeaders = (list) => answers.push(list.fields);
    stream.on('error', () => {});
    return { stream, answers };
  };
  return { session, request, ended, goaways, peers };
}

/** Unlike `once`, takes an error for what it is here: the way to the close. */
const closed = (stream: NodeJS.EventEmitter) => new Promise((resolve) => stream.on('close', resolve));
const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

async function content(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

test('Node’s client: headers both ways, and 8 MiB there and back', async () => {
  let seen: string[] = [];
  const { client } = await serve((stream, headers) => {
    seen = [...headers.fields];
    stream.respond([':status', '200', 'x-answer', 'yes', 'content-type', 'text/plain']);
    stream.on('data', (chunk: Buffer) => stream.write(chunk) || stream.pause());
    stream.on('drain', () => stream.resume()).on('end', () => stream.end());
  });
  const request = client.request({ ':method': 'POST', ':path': '/a', 'x-many': ['1', '2'], cookie: 'a=b' });
  const sent = randomBytes(8 << 20);
  request.end(sent);
  const [headers] = (await once(request, 'response')) as [http2.IncomingHttpHeaders];
  expect(headers).toMatchObject({ ':status': 200, 'x-answer': 'yes', 'content-type': 'text/plain' });
  expect(digest(await content(request))).toBe(digest(sent));
  expect(seen).toEqual(expect.arrayContaining([':path', '/a', 'x-many', '1', '2', 'cookie', 'a=b']));
});

test('Node’s server: the same', async () => {
  const { request } = await dial((stream, headers) => {
    stream.respond({ ':status': 201, 'x-path': headers[':path'] as string, 'x-many': headers['x-many'] as string });
    stream.pipe(stream);
  });
  const { stream, answers } = request('/b', ['x-many', 'one, two']);
  const sent = randomBytes(8 << 20);
  stream.end(sent);
  expect(digest(await content(stream))).toBe(digest(sent));
  expect(answers[0]).toEqual(expect.arrayContaining([':status', '201', 'x-path', '/b', 'x-many', 'one, two']));
});

test('fifty streams at a time, each with its own content', async () => {
  const { request, session } = await dial((stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  const bodies = Array.from({ length: 50 }, (_, i) => randomBytes(10_000 + i * 1_000));
  const back = await Promise.all(
    bodies.map((body) => {
      const { stream } = request('/');
      stream.end(body);
      return content(stream);
    }),
  );
  expect(back.map(digest)).toEqual(bodies.map(digest));
  expect(session.streams).toBe(0);
  expect(session.usable).toBe(true);
});

test('a head alone, and an answer without content', async () => {
  const { client } = await serve((stream, _, end) => stream.respond([':status', end ? '204' : '500'], true));
  const request = client.request({ ':path': '/' });
  const [headers] = (await once(request, 'response')) as [http2.IncomingHttpHeaders];
  expect(headers[':status']).toBe(204);
  expect((await content(request)).length).toBe(0);
});

test('trailers of the peer end the stream', async () => {
  const { request } = await dial((stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end('body');
  });
  const { stream, answers } = request('/');
  stream.end();
  expect(String(await content(stream))).toBe('body');
  expect(answers[1]).toEqual(['grpc-status', '0']);
});

test('readers that do not read stop their writers within their windows, and others go on', async () => {
  const written = new Map<string, number>();
  const { request } = await dial((stream, headers) => {
    stream.respond({ ':status': 200 });
    const path = headers[':path']!;
    if (path === '/quick') return void stream.end('here');
    const chunk = Buffer.alloc(65_536);
    const more = () => {
      for (let done = written.get(path) ?? 0; done < 32 << 20; ) {
        done += chunk.length;
        written.set(path, done);
        if (!stream.write(chunk)) return;
      }
    };
    stream.on('drain', more);
    more();
  });
  // More of them than the connection's window holds.
  const crowd = Array.from({ length: 8 }, (_, i) => request(`/slow-${i}`).stream.pause());
  for (const one of crowd)
    await vi.waitFor(() => expect(one.readableLength).toBeGreaterThan(settings.streamWindow - 65_536));
  for (const one of crowd) expect(one.readableLength).toBeLessThanOrEqual(settings.streamWindow);
  expect(String(await content(request('/quick').stream))).toBe('here');
  const before = written.get('/slow-0')!;
  crowd[0]!.resume();
  await vi.waitFor(() => expect(written.get('/slow-0')).toBeGreaterThan(before + settings.streamWindow));
});

test('a reset has its code, at either end', async () => {
  const codes: number[] = [];
  const server = await serve((stream) => {
    stream.on('close', () => codes.push(stream.resetCode));
    stream.respond([':status', '200']);
    stream.once('data', () => stream.reset(errorCode.refusedStream));
  });
  const request = server.client.request({ ':method': 'POST', ':path': '/' });
  request.on('error', () => {});
  request.write('x');
  await closed(request);
  expect(request.rstCode).toBe(errorCode.refusedStream);

  const { request: ask } = await dial((stream) => stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM));
  const { stream } = ask('/');
  await closed(stream.resume());
  expect(stream.resetCode).toBe(errorCode.enhanceYourCalm);
  expect(codes).toEqual([errorCode.refusedStream]);
});

test('a peer that has answered and takes no more is not an error: its answer is whole', async () => {
  const { request } = await dial((stream) => {
    stream.respond({ ':status': 413 });
    stream.end('too much', () => stream.close(http2.constants.NGHTTP2_NO_ERROR));
  });
  const { stream } = request('/');
  let error: Error | undefined;
  stream.on('error', (cause) => {
    error = cause;
  });
  const upload = setInterval(() => stream.destroyed || stream.write(Buffer.alloc(10_000)), 5);
  expect(String(await content(stream.pause()))).toBe('too much');
  await vi.waitFor(() => expect(stream.localOpen).toBe(false));
  clearInterval(upload);
  expect(error).toBeUndefined();
});

test('close lets what is begun finish, and the peer begins nothing more', async () => {
  const held: Http2Stream[] = [];
  const { client, sessions, ended } = await serve((stream) => {
    stream.respond([':status', '200']);
    held.push(stream);
  });
  const request = client.request({ ':path': '/' });
  await once(request, 'response');
  sessions[0]!.close();
  await once(client, 'goaway');
  expect(ended).toEqual([]);
  held[0]!.end('the rest');
  expect(String(await content(request))).toBe('the rest');
  await vi.waitFor(() => expect(ended).toEqual([undefined]));
});

test('the peer’s GOAWAY is heard although a reset has overtaken it: what it names as not looked at may go elsewhere', async () => {
  const { socket, peer } = await connectionPair({ pauseOnConnect: true });
  hearLastWords(socket);
  const ended: (Error | undefined)[] = [];
  const session = new Http2Session(socket, {
    role: 'client',
    settings,
    makeStream: byteStream,
    onClose: (error) => ended.push(error),
  });
  cleanup.push(() => session.destroy());
  peer.write(shortFrame(frame.settings, 0, 0, Buffer.alloc(0)));
  await expect.poll(() => session.settled).toBe(true);
  // In the phase of the event loop that reads: what is written below goes out before the next read.
  await stat('/');
  const streams = [1, 2].map(() => session.request(encodeHeaders([':method', 'GET'])));
  const codes = streams.map(async (stream) => {
    stream.on('error', () => {});
    await closed(stream);
    return stream.resetCode;
  });
  peer.write(shortFrame(frame.goaway, 0, 0, Buffer.concat([uint32(1), uint32(errorCode.noError)])));
  // With bytes that it has not read.
  peer.destroy();
  expect(await Promise.all(codes)).toEqual([errorCode.cancel, errorCode.refusedStream]);
  expect(ended).toEqual([expect.objectContaining({ syscall: 'write' })]);
});

test('the peer’s GOAWAY: told once, no new streams, old ones finish', async () => {
  const { session, request, ended, goaways, peers } = await dial((stream) => {
    stream.respond({ ':status': 200 });
    stream.on('data', (chunk: Buffer) => stream.end(chunk));
  });
  const { stream, answers } = request('/');
  await vi.waitFor(() => expect(answers.length).toBe(1));
  peers[0]!.close();
  await vi.waitFor(() => expect(session.usable).toBe(false));
  stream.end('last words');
  expect(String(await content(stream))).toBe('last words');
  await vi.waitFor(() => expect(ended).toEqual([undefined]));
  expect(goaways.count).toBe(1);
});

test('a lost connection ends its streams, and says so once', async () => {
  const { request, ended, peers } = await dial((stream) => stream.respond({ ':status': 200 }));
  const { stream, answers } = request('/');
  await vi.waitFor(() => expect(answers.length).toBe(1));
  const over = closed(stream.resume());
  peers[0]!.destroy();
  await over;
  await vi.waitFor(() => expect(ended.length).toBe(1));
});

test('pings are answered, and answer', async () => {
  const { client } = await serve(() => {});
  await once(client, 'remoteSettings');
  expect(await new Promise((resolve) => client.ping((error) => resolve(error)))).toBe(null);
  const { session } = await dial(() => {});
  await new Promise<void>((resolve) => session.ping(resolve));
});

test('more streams than allowed are refused, and may be tried elsewhere', async () => {
  const { client } = await serve((stream) => stream.respond([':status', '200']));
  // Sent with the preface: it does not know our limit yet.
  const codes = await Promise.all(
    Array.from({ length: 12 }, () => {
      const request = client.request({ ':path': '/' });
      request.on('error', () => {});
      return Promise.race([new Promise((resolve) => request.on('response', resolve)), closed(request)]).then(
        () => request.rstCode,
      );
    }),
  );
  expect(codes.filter((code) => code === errorCode.refusedStream).length).toBe(2);
  expect(codes.filter((code) => code === errorCode.noError).length).toBe(settings.maxStreams);
});

test('a stream with more headers than are read is refused, and costs its connection nothing', async () => {
  const { client, sessions } = await serve((stream) => stream.respond([':status', '200'], true));
  const large = client.request({ ':path': '/', 'x-large': 'y'.repeat(settings.maxHeaderListBytes) });
  large.on('error', () => {});
  await closed(large);
  expect(large.rstCode).toBe(errorCode.enhanceYourCalm);
  const [headers] = (await once(client.request({ ':path': '/' }), 'response')) as [http2.IncomingHttpHeaders];
  expect(headers[':status']).toBe(200);
  expect(sessions[0]!.streams).toBe(0);
});
