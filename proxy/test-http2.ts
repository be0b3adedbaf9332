/** For tests: HTTP/2 clients and servers of Node's, in plain text. */
import http2, { type ClientHttp2Session, type Http2Server, type OutgoingHttpHeaders } from 'node:http2';

export interface Answer {
  status: number;
  headers: http2.IncomingHttpHeaders;
  body: Buffer;
  trailers: http2.IncomingHttpHeaders;
  /** Of the reset that ended it; 0 without one. */
  code: number;
}

/** A session to the client's proxy. */
export function dialHttp2(port: number): Promise<ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  return new Promise((resolve) => session.once('connect', () => resolve(session)));
}

/** Sends a request whole; resolves when its stream is over, whatever became of it. */
export function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, body?: Buffer): Promise<Answer> {
  const stream = session.request(
    { ':authority': 'web.shop', ':path': '/', ...(body ? { ':method': 'POST' } : {}), ...headers },
    { endStream: !body },
  );
  return answerOf(stream, body);
}

export function answerOf(stream: http2.ClientHttp2Stream, body?: Buffer): Promise<Answer> {
  const answer: Answer = { status: 0, headers: {}, body: Buffer.alloc(0), trailers: {}, code: 0 };
  const chunks: Buffer[] = [];
  stream.on('response', (head) => {
    answer.status = Number(head[':status']);
    answer.headers = head;
  });
  stream.on('trailers', (trailers) => {
    answer.trailers = trailers;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {}); // told by the code
  if (body) stream.end(body);
  return new Promise((resolve) =>
    stream.on('close', () => resolve({ ...answer, body: Buffer.concat(chunks), code: stream.rstCode })),
  );
}

/** A server whose sessions can be looked at and ended. */
export function http2Server(
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  options: http2.ServerOptions = {},
): { server: Http2Server; sessions: Set<http2.ServerHttp2Session> } {
  const server = http2.createServer(options);
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  return { server, sessions };
}
