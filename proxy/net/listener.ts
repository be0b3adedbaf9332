/** A TCP listener for redirected connections: paused on arrival, half-open allowed, bounded in number. */
import { createServer, type Server, type Socket } from 'node:net';
import { shareReads } from './shared-reads.ts';
import { turnBytes } from './write-together.ts';

const maxConnections = 10_000;

/** Resolves when it listens. `host` of IPv6 takes IPv6 only. */
function listen(
  host: string,
  port: number,
  onConnection: (socket: Socket) => void,
  onDrop: () => void,
): Promise<Server> {
  const server = createServer({
    highWaterMark: turnBytes,
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
  });
  server.maxConnections = maxConnections;
  server.on('connection', (socket) => {
    shareReads(socket);
    onConnection(socket);
  });
  server.on('drop', onDrop);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, ipv6Only: host.includes(':'), backlog: 4096 }, () => resolve(server));
  });
}

/** Listens on an IPv4 and, where the machine has IPv6, on an IPv6 address. */
export async function listenBoth(
  hosts: { ipv4: string; ipv6: string },
  port: number,
  onConnection: (socket: Socket) => void,
  onDrop: () => void,
): Promise<Server[]> {
  const first = await listen(hosts.ipv4, port, onConnection, onDrop);
  try {
    return [first, await listen(hosts.ipv6, portOf(first), onConnection, onDrop)];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL') return [first];
    first.close();
    throw error;
  }
}

export function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}
