/** Calls that are streams: logs, port-forward and exec over WebSocket. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { type ExecSession, NotFound, type PodRuntime } from '../objects.ts';
import { forwardChannels, forwardSpdy, forwardTunnel, framed, spdyTunnel, wantedPort } from './port-forward.ts';
import type { ApiRequest } from './request.ts';
import { badRequest, notFound } from './status-error.ts';

const exited = 'command terminated with non-zero exit code';
const resizeChannel = 4;
/** Of v5: names a channel on which nothing more comes. */
const closeChannel = 255;

export function serveLogs(runtime: PodRuntime, request: ApiRequest, container: string, response: ServerResponse): void {
  const { query, namespace, name } = request;
  const number = (key: string) => (query.has(key) ? Number(query.get(key)) : undefined);
  const tailLines = number('tailLines');
  const sinceSeconds = number('sinceSeconds');
  const limitBytes = number('limitBytes');
  let stream: NodeJS.ReadableStream;
  try {
    stream = runtime.logs(
      namespace,
      name,
      {
        container,
        follow: query.get('follow') === 'true',
        previous: query.get('previous') === 'true',
        timestamps: query.get('timestamps') === 'true',
        ...(tailLines === undefined ? {} : { tailLines }),
        ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
        ...(query.has('sinceTime') ? { sinceTime: Date.parse(query.get('sinceTime')!) } : {}),
        ...(limitBytes === undefined ? {} : { limitBytes }),
      },
      request.signal,
    );
  } catch (error) {
    if (error instanceof NotFound) throw badRequest(error.message);
    throw error;
  }
  response.writeHead(200, { 'content-type': 'text/plain' });
  response.flushHeaders();
  stream.on('error', () => response.destroy());
  stream.pipe(response);
}

const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: 4 << 20,
  handleProtocols: (offered) => ['v5.channel.k8s.io', 'v4.channel.k8s.io'].find((one) => offered.has(one)) ?? false,
});
/** The name of this subprotocol is no token of RFC 9110, so `ws` would refuse it: it is agreed on beside it. */
const tunnels = new WebSocketServer({ noServer: true, maxPayload: 4 << 20 });
tunnels.on('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${spdyTunnel}`));

/** Answers an upgrade to port-forward, exec or attach; other upgrades are refused. */
export function serveUpgrade(
  runtime: PodRuntime,
  request: ApiRequest,
  container: string,
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  if (request.subresource === 'portforward') {
    if (message.headers.upgrade?.toLowerCase() === 'spdy/3.1') return forwardSpdy(runtime, request, socket, head);
    if (message.headers['sec-websocket-protocol']?.includes(spdyTunnel)) {
      delete message.headers['sec-websocket-protocol'];
      tunnels.handleUpgrade(message, socket, head, (webSocket) => forwardTunnel(runtime, request, webSocket));
      return;
    }
    const port = wantedPort(request.query);
    sockets.handleUpgrade(message, socket, head, (webSocket) => {
      void forwardChannels(runtime, request, port, webSocket);
    });
  } else if (request.subresource === 'exec') {
    const command = request.query.getAll('command');
    if (command.length === 0) throw badRequest('exec needs the query parameter command');
    sockets.handleUpgrade(
      message,
      socket,
      head,
      (webSocket) => void execute(runtime, request, container, command, webSocket),
    );
  } else if (request.subresource === 'attach') {
    if (request.query.get('stdin') === 'true')
      throw badRequest('containers of the local mesh have no input to attach to; use exec to run a program in one');
    sockets.handleUpgrade(message, socket, head, (webSocket) => attach(runtime, request, container, webSocket));
  } else throw notFound('upgrade', request.subresource);
}

/** Sends what a stream gives, holding it back while the socket is behind. */
function pump(from: NodeJS.ReadableStream, channel: number, to: WebSocket): void {
  from.on('data', (chunk: Buffer) => {
    from.pause();
    to.send(framed(channel, chunk), () => from.resume());
  });
}

async function execute(
  runtime: PodRuntime,
  request: ApiRequest,
  container: string,
  command: string[],
  socket: WebSocket,
): Promise<void> {
  const status = (body: object) =>
    socket.send(framed(3, Buffer.from(JSON.stringify({ metadata: {}, ...body }))), () => socket.close(1000));
  try {
    const child = await runtime.exec(request.namespace, request.name, container, command, {
      tty: request.query.get('tty') === 'true',
    });
    if (child.stdout) pump(child.stdout, 1, socket);
    if (child.stderr) pump(child.stderr, 2, socket);
    socket.on('message', (data: Buffer) => {
      if (data[0] === 0) child.stdin?.write(data.subarray(1));
      else if (data[0] === resizeChannel) resize(child, data.subarray(1));
      else if (data[0] === closeChannel && !child.resize) child.stdin?.end();
    });
    child.stdin?.on('error', () => {}); // the command may end before its input does
    socket.on('close', () => child.kill());
    const code = await child.exited;
    if (code === 0) return status({ status: 'Success' });
    status({
      status: 'Failure',
      reason: 'NonZeroExitCode',
      message: `${exited} ${code}`,
      details: { causes: [{ reason: 'ExitCode', message: String(code ?? 137) }] },
    });
  } catch (error) {
    status({ status: 'Failure', reason: 'InternalError', message: (error as Error).message, code: 500 });
  }
}

function resize(session: ExecSession, data: Buffer): void {
  try {
    const { Width, Height } = JSON.parse(data.toString()) as { Width: number; Height: number };
    if (Width > 0 && Height > 0) session.resize?.(Width, Height);
  } catch {
    // A size that cannot be read leaves the terminal as it is.
  }
}

/** What a container writes from now on; its input is not kept, so nothing can be typed. */
function attach(runtime: PodRuntime, request: ApiRequest, container: string, socket: WebSocket): void {
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  const end = (body: object) =>
    socket.send(framed(3, Buffer.from(JSON.stringify({ metadata: {}, ...body }))), () => socket.close(1000));
  try {
    const stream = runtime.logs(
      request.namespace,
      request.name,
      { container, follow: true, tailLines: 0 },
      gone.signal,
    );
    pump(stream, 1, socket);
    stream.on('end', () => end({ status: 'Success' }));
    stream.on('error', (error) => end({ status: 'Failure', reason: 'InternalError', message: error.message }));
  } catch (error) {
    end({ status: 'Failure', reason: 'BadRequest', message: (error as Error).message });
  }
}
