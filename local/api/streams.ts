/** Calls that are streams: logs, port-forward and exec over WebSocket. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { NotFound, type PodRuntime } from '../objects.ts';
import type { ApiRequest } from './request.ts';
import { badRequest, notFound } from './status-error.ts';

const exited = 'command terminated with non-zero exit code';

export function serveLogs(runtime: PodRuntime, request: ApiRequest, container: string, response: ServerResponse): void {
  const { query, namespace, name } = request;
  const number = (key: string) => (query.has(key) ? Number(query.get(key)) : undefined);
  const tailLines = number('tailLines');
  const sinceSeconds = number('sinceSeconds');
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
      },
      request.signal,
    );
  } catch (error) {
    if (error instanceof NotFound)
      throw badRequest(`container "${container}" in pod "${name}" is waiting to start: ${error.message}`);
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

/** Answers an upgrade to port-forward or exec; other upgrades are refused. */
export function serveUpgrade(
  runtime: PodRuntime,
  request: ApiRequest,
  container: string,
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  if (request.subresource === 'portforward') {
    const port = Number(request.query.get('ports') ?? request.query.get('port'));
    if (!(port >= 1 && port <= 65535)) throw badRequest('port-forward needs the query parameter ports');
    sockets.handleUpgrade(message, socket, head, (webSocket) => void forward(runtime, request, port, webSocket));
  } else if (request.subresource === 'exec') {
    const command = request.query.getAll('command');
    if (command.length === 0) throw badRequest('exec needs the query parameter command');
    sockets.handleUpgrade(
      message,
      socket,
      head,
      (webSocket) => void execute(runtime, request, container, command, webSocket),
    );
  } else throw notFound('upgrade', request.subresource);
}

function framed(channel: number, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([channel]), data]);
}

/** Sends what a stream gives, holding it back while the socket is behind. */
function pump(from: NodeJS.ReadableStream, channel: number, to: WebSocket): void {
  from.on('data', (chunk: Buffer) => {
    from.pause();
    to.send(framed(channel, chunk), () => from.resume());
  });
}

async function forward(runtime: PodRuntime, request: ApiRequest, port: number, socket: WebSocket): Promise<void> {
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  // The first message of each channel carries the port: data on 0, errors on 1.
  socket.send(framed(0, number));
  socket.send(framed(1, number));
  const early: Buffer[] = [];
  const keep = (data: Buffer) => early.push(data);
  socket.on('message', keep);
  let connection: Duplex;
  try {
    connection = await runtime.connect(request.namespace, request.name, port);
  } catch (error) {
    socket.send(framed(1, Buffer.from(`port ${port} of pod ${request.name}: ${(error as Error).message}`)), () =>
      socket.close(1000),
    );
    return;
  }
  const write = (data: Buffer) => {
    if (data[0] !== 0) return;
    if (!connection.write(data.subarray(1))) {
      socket.pause();
      connection.once('drain', () => socket.resume());
    }
  };
  socket.off('message', keep).on('message', write);
  for (const data of early) write(data);
  pump(connection, 0, socket);
  connection.on('end', () => socket.close(1000));
  connection.on('error', () => socket.close(1000));
  connection.on('close', () => socket.close(1000));
  socket.on('close', () => connection.destroy());
  socket.on('error', () => connection.destroy());
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
      else if (data[0] === 255) child.stdin?.end();
    });
    child.stdin?.on('error', () => {}); // the command may end before its input does
    socket.on('close', () => child.kill('SIGKILL'));
    child.on('close', (code) => {
      if (code === 0) status({ status: 'Success' });
      else
        status({
          status: 'Failure',
          reason: 'NonZeroExitCode',
          message: `${exited} ${code}`,
          details: { causes: [{ reason: 'ExitCode', message: String(code ?? 137) }] },
        });
    });
  } catch (error) {
    status({ status: 'Failure', reason: 'InternalError', message: (error as Error).message, code: 500 });
  }
}
