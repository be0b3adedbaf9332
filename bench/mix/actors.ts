/** The clients of a mixed load: each does one thing over and over, well or badly behaved, and counts how it went. */
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { type MixTarget, mixPorts } from './target.ts';

/** Resolves where it went as it should. @throws Error that says what was different */
export type Act = () => Promise<void>;

export interface Actor {
  name: string;
  /** So many do it at the same time. */
  count: number;
  /** Milliseconds between an end and the next start. */
  pause: number;
  /** One for each of them. */
  make(target: MixTarget): Act;
}

const patienceMs = 30_000;

function expectStatus(wanted: number, got: number | undefined): void {
  if (got !== wanted) throw new Error(`status ${got} in place of ${wanted}`);
}

/** Mostly small, sometimes large, now and then an error or an upload. */
const requests: { path: string; status: number; bytes?: number; upload?: number }[] = [
  ...Array(12).fill({ path: '/', status: 200, bytes: 35 }),
  ...Array(4).fill({ path: '/files/16k', status: 200, bytes: 16_384 }),
  { path: '/files/1m', status: 200, bytes: 2 ** 20 },
  { path: '/missing', status: 404 },
  { path: '/files/16k', status: 200, bytes: 16_384, upload: 65_536 },
];

function http1(target: MixTarget, agent: http.Agent | false, more: http.RequestOptions = {}): http.ClientRequest {
  const options = { host: target.host, port: mixPorts.http1, timeout: patienceMs, agent, ...more };
  const request = http.request(options);
  request.on('timeout', () => request.destroy(new Error(`no answer within ${patienceMs / 1000} s`)));
  return request;
}

const answered = (request: http.ClientRequest): Promise<http.IncomingMessage> =>
  new Promise((resolve, reject) => request.on('response', resolve).on('error', reject));

function oneAfterTheOther(target: MixTarget, agent: http.Agent | false): Act {
  let turn = 0;
  return async () => {
    const { path, status, bytes, upload } = requests[turn++ % requests.length]!;
    const request = http1(target, agent, { path, method: upload ? 'POST' : 'GET' });
    request.end(upload ? Buffer.alloc(upload) : undefined);
    const response = await answered(request);
    const body = await text(response);
    expectStatus(status, response.statusCode);
    if (bytes !== undefined && body.length !== bytes) throw new Error(`${body.length} bytes in place of ${bytes}`);
  };
}

/** Of `GET /files/1m` only so much is read, then the client goes. */
function abandon(target: MixTarget): Act {
  return async () => {
    const request = http1(target, false, { path: '/files/1m' });
    request.end();
    const response = await answered(request);
    response.on('error', () => {}); // It is ended in the middle on purpose.
    await new Promise((resolve) => response.once('data', resolve));
    request.destroy();
  };
}

function slowReader(target: MixTarget): Act {
  return async () => {
    const request = http1(target, false, { path: '/files/1m' });
    request.end();
    let bytes = 0;
    for await (const chunk of await answered(request)) {
      bytes += (chunk as Buffer).length;
      await wait(50);
    }
    if (bytes !== 2 ** 20) throw new Error(`${bytes} bytes of a mebibyte`);
  };
}

function slowWriter(target: MixTarget): Act {
  return async () => {
    const headers = { 'content-length': 1000 };
    const request = http1(target, false, { method: 'POST', path: '/files/16k', headers });
    const response = answered(request);
    for (let sent = 0; sent < 1000; sent += 10) {
      request.write('0123456789');
      await wait(20);
    }
    request.end();
    const { statusCode } = (await response).resume();
    expectStatus(200, statusCode);
  };
}

/** One session after the other, each for 500 requests. */
function http2Streams(target: MixTarget): Act {
  let session: http2.ClientHttp2Session | undefined;
  let turn = 0;
  return async () => {
    if (!session || session.closed || session.destroyed || turn % 500 === 0) {
      session?.close();
      session = http2.connect(`http://${target.host}:${mixPorts.http2}`);
      session.on('error', () => {}); // Its streams tell.
    }
    const { path, status, bytes, upload } = requests[turn++ % requests.length]!;
    const stream = session.request({ ':path': path, ':method': upload ? 'POST' : 'GET' });
    stream.setTimeout(patienceMs, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.end(upload ? Buffer.alloc(upload) : undefined);
    let got: number | undefined;
    stream.on('response', (headers) => {
      got = headers[':status'];
    });
    const body = await text(stream);
    expectStatus(status, got);
    if (bytes !== undefined && body.length !== bytes) throw new Error(`${body.length} bytes in place of ${bytes}`);
  };
}

function http2Resets(target: MixTarget): Act {
  return async () => {
    const session = http2.connect(`http://${target.host}:${mixPorts.http2}`);
    try {
      const stream = session.request({ ':path': '/files/1m' });
      await new Promise((resolve, reject) => {
        session.on('error', reject);
        stream.on('error', reject).on('data', resolve);
      });
      await new Promise((resolve) => stream.on('close', resolve).close(http2.constants.NGHTTP2_CANCEL));
    } finally {
      session.destroy();
    }
  };
}

/** Writes on a connection of its own and gives what comes back until its end, or until `enough`. */
function exchange(port: number, target: MixTarget, sent: string | Buffer, enough: (bytes: number) => boolean) {
  return new Promise<string>((resolve, reject) => {
    const socket = net.connect(port, target.host, () => void socket.write(sent));
    let received = '';
    socket.setTimeout(patienceMs, () => socket.destroy(new Error(`nothing for ${patienceMs / 1000} s`)));
    socket.on('error', reject).on('close', () => resolve(received));
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      if (enough(received.length)) socket.destroy();
    });
  });
}

/** Nobody listens behind the service's port: the proxy answers for it, or ends the connection. */
function refused(target: MixTarget): Act {
  return async () => {
    const text = `GET / HTTP/1.1\r\nhost: ${target.host}\r\nconnection: close\r\n\r\n`;
    const answer = await exchange(mixPorts.refused, target, text, () => false).catch(() => '');
    if (answer !== '' && !/^HTTP\/1.1 50[234] /.test(answer)) throw new Error(answer.slice(0, 60));
  };
}

function malformed(target: MixTarget): Act {
  return async () => {
    const answer = await exchange(mixPorts.http1, target, 'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n', () => false);
    if (!answer.startsWith('HTTP/1.1 400 ')) throw new Error(`"${answer.slice(0, 60)}" in place of a 400`);
  };
}

function opaque(target: MixTarget): Act {
  const message = Buffer.alloc(4096, 1);
  return async () => {
    const answer = await exchange(mixPorts.opaque, target, message, (bytes) => bytes >= message.length);
    if (answer.length !== message.length) throw new Error(`${answer.length} bytes came back of ${message.length}`);
  };
}

/** A request, half a minute of nothing, another on the same connection. */
function idle(target: MixTarget): Act {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = oneAfterTheOther(target, agent);
  return async () => {
    await ask();
    await wait(30_000, undefined, { ref: false });
  };
}

const keepAlive = (target: MixTarget): Act =>
  oneAfterTheOther(target, new http.Agent({ keepAlive: true, maxSockets: 1 }));

export const actors: Actor[] = [
  { name: 'http1', count: 8, pause: 20, make: keepAlive },
  { name: 'http1-reconnecting', count: 2, pause: 50, make: (target) => oneAfterTheOther(target, false) },
  { name: 'http1-abandoned', count: 1, pause: 200, make: abandon },
  { name: 'http1-idle', count: 50, pause: 0, make: idle },
  { name: 'slow-reader', count: 2, pause: 100, make: slowReader },
  { name: 'slow-writer', count: 2, pause: 100, make: slowWriter },
  { name: 'http2', count: 4, pause: 20, make: http2Streams },
  { name: 'http2-reset', count: 1, pause: 200, make: http2Resets },
  { name: 'opaque', count: 2, pause: 100, make: opaque },
  { name: 'refused', count: 1, pause: 500, make: refused },
  { name: 'malformed', count: 1, pause: 500, make: malformed },
];
