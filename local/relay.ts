/** The node's ways to the outside, all in the supervisor so that a restart of the daemon cuts none: egress, published ports, names. */
import { createSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { connect, createServer, isIPv4, type Server } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { originalDestination } from '../proxy/net/original-destination.ts';
import type { Publication } from './messages.ts';
import { egressPort, nodeAddress } from './network/addresses.ts';
import type { NodeThread } from './network/node-thread.ts';
import { relay } from './network/socket.ts';

/** Takes TCP that pods send out of the mesh and connects it from this machine. */
export function relayEgress(node: NodeThread): Promise<Server> {
  return node.listen(nodeAddress, egressPort, (socket) => {
    const destination = originalDestination(socket);
    const [host, port] = destination?.split(':') ?? [];
    // A connection to the relay itself was not redirected and has no destination; loopback is nobody's way out.
    if (!host || !port || !isIPv4(host) || /^(127|10\.244|10\.96)\./.test(host)) return void socket.resetAndDestroy();
    const outside = connect({ host, port: Number(port), allowHalfOpen: true });
    outside.once('error', () => socket.resetAndDestroy());
    socket.once('error', () => outside.destroy());
    outside.once('connect', () => relay(socket, outside));
  });
}

/** Keeps the ports of published services open on 127.0.0.1. */
export class Publisher {
  readonly #node: NodeThread;
  readonly #open = new Map<string, { server: Server; publication: Publication }>();

  constructor(node: NodeThread) {
    this.#node = node;
  }

  /** Opens and closes ports; returns what could not be opened, by key. */
  async set(publications: Publication[]): Promise<Record<string, string>> {
    const wanted = new Map(publications.map((one) => [one.key, one]));
    for (const [key, { server, publication }] of this.#open) {
      const now = wanted.get(key);
      if (now && isDeepStrictEqual(now, publication)) continue;
      server.close();
      this.#open.delete(key);
    }
    const problems: Record<string, string> = {};
    for (const publication of publications) {
      if (this.#open.has(publication.key)) continue;
      const { key, port, address, targetPort } = publication;
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.once('error', () => socket.destroy());
        this.#node.connect(address, targetPort).then(
          (inside) => relay(socket, inside),
          () => socket.resetAndDestroy(),
        );
      });
      const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
        server.once('error', resolve).listen(port, '127.0.0.1', () => resolve(undefined));
      });
      if (error) problems[key] = whyNotOpen(error, port);
      else this.#open.set(key, { server, publication });
    }
    return problems;
  }
}

function whyNotOpen(error: NodeJS.ErrnoException, port: number): string {
  if (error.code === 'EADDRINUSE') return `port ${port} of 127.0.0.1 is in use`;
  if (error.code === 'EACCES')
    return `port ${port} of 127.0.0.1 is for root only; use a port from 1024 on, or lower it with \`sudo sysctl -w net.ipv4.ip_unprivileged_port_start=${port}\``;
  return error.message;
}

/** Asks this machine's resolvers, one after the other. */
export async function askOutside(query: Buffer): Promise<Buffer> {
  let last: Error = new Error('this machine has no resolver');
  for (const server of getServers()) {
    const [, host = server, port = '53'] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(isIPv4(server) ? server : server) ?? [];
    try {
      return await askOne(query, host, Number(port));
    } catch (error) {
      last = error as Error;
    }
  }
  throw last;
}

function askOne(query: Buffer, host: string, port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const timer = setTimeout(() => finish(new Error('no answer')), 2_000);
    const finish = (error: Error | undefined, reply?: Buffer): void => {
      clearTimeout(timer);
      socket.close();
      if (reply) resolve(reply);
      else reject(error);
    };
    socket.once('error', (error) => finish(error));
    socket.on('message', (reply) => {
      if (reply.readUInt16BE(0) === query.readUInt16BE(0)) finish(undefined, reply);
    });
    socket.send(query, port, host);
  });
}
