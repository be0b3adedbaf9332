/** One TCP connection to a port of a pod, through the API server: WebSocket subprotocol v4.channel.k8s.io. */
import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { KubeError } from './client.ts';
import { pathOf } from './paths.ts';
import { resources } from './resources.ts';
import type { Transport } from './transport.ts';
import type { KubeStatus } from './types.ts';

const dataChannel = 0;
const errorChannel = 1;

export async function portForward(transport: Transport, namespace: string, pod: string, port: number): Promise<Duplex> {
  const { WebSocket } = await import('ws');
  const { endpoint } = transport;
  const url =
    endpoint.server.replace(/^http/, 'ws').replace(/\/$/, '') + pathOf(resources.pods, namespace, pod, 'portforward');
  const socket = new WebSocket(`${url}?ports=${port}`, ['v4.channel.k8s.io'], {
    ...transport.tls,
    agent: transport.agent,
    headers: (await endpoint.headers()) as Record<string, string>,
    handshakeTimeout: endpoint.timeoutMs,
    perMessageDeflate: false,
  });
  const duplex = new Duplex({
    allowHalfOpen: false,
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) =>
      socket.send(Buffer.concat([Buffer.from([dataChannel]), chunk]), (error) => done(error ?? null)),
    final: (done) => {
      socket.close();
      done();
    },
    destroy: (error, done) => {
      socket.terminate();
      done(error);
    },
  });
  const announced = [false, false];
  // From the start: an API server sends its first messages together with the handshake's answer.
  socket.on('message', (data: Buffer) => {
    const channel = data[0]!;
    // The first message of each channel repeats the port.
    if (channel < 2 && !announced[channel]) announced[channel] = true;
    else if (channel === errorChannel) {
      const error = new KubeError(0, 'PortForward', data.toString('utf8', 1));
      // Later: who asked for the connection must have it first, to listen for errors.
      setImmediate(() => duplex.destroy(error));
    } else if (channel === dataChannel && !duplex.push(data.subarray(1))) socket.pause();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', (error) =>
      reject(new KubeError(0, 'Unreachable', `port-forward to ${namespace}/${pod}: ${error.message}`, error)),
    );
    socket.once('unexpected-response', (_request, response) => {
      const status = response.statusCode ?? 0;
      const refuse = (why: string) =>
        reject(new KubeError(status, 'PortForward', `port-forward to ${namespace}/${pod} was refused: ${why}`));
      // The API server says which right is missing.
      readStatus(response).then(
        (message) => refuse(message ?? `status ${status}`),
        () => refuse(`status ${status}`),
      );
    });
  });
  endpoint.trace?.(`port-forward to ${namespace}/${pod} port ${port} open`);
  socket.on('close', () => duplex.push(null));
  socket.on('error', (error) => duplex.destroy(error));
  return duplex;
}

/** The message of a `Status` object; undefined where the answer is none. */
async function readStatus(response: IncomingMessage): Promise<string | undefined> {
  return (JSON.parse(await text(response)) as KubeStatus).message;
}
