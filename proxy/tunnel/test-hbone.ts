/** For tests: both ends of HBONE on loopback, with certificates of a root of their own. */
import { afterEach } from 'vitest';
import type { Address } from '../../protocol/discovery.ts';
import type { SpiffeId } from '../../protocol/identity.ts';
import type { ProxyError } from '../error.ts';
import type { Http2Stream } from '../http2/stream.ts';
import type { Credentials } from '../tls/credentials.ts';
import { TestCa } from '../tls/test-ca.ts';
import { HboneClient } from './hbone-client.ts';
import { HboneServer, type TunnelRequest } from './hbone-server.ts';

export const id = (account: string, domain = 'cluster.local') => `spiffe://${domain}/ns/shop/sa/${account}` as SpiffeId;
export const ca = new TestCa();
export const open: HboneServer[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.destroy();
});

export const echo = (request: TunnelRequest) => {
  const stream = request.accept();
  stream.pipe(stream);
};

export async function startServer(onTunnel: (request: TunnelRequest) => void = echo) {
  const refusals: string[] = [];
  const server = new HboneServer({
    credentials: ca.credentials(id('server')),
    trustDomain: 'cluster.local',
    podIps: ['127.0.0.1'],
    onTunnel,
    onRefused: (reason) => refusals.push(reason),
  });
  open.push(server);
  await server.listen(0, '127.0.0.1');
  return { server, refusals };
}

/** `port`: of the server. */
export function connect(
  port: number,
  credentials: Credentials,
  identity = id('server'),
  destination = '127.0.0.1:80',
  connectTimeoutMs = 2000,
) {
  const refused: string[] = [];
  const client = new HboneClient({
    credentials,
    trustDomain: 'cluster.local',
    connectTimeoutMs,
    baggage: '',
    port,
    onRefused: (reason) => refused.push(reason),
  });
  const stream = () =>
    new Promise<Http2Stream>((resolve, reject) => {
      client.open({ address: destination as Address, identity }, (error, opened) =>
        opened ? resolve(opened) : reject(error as ProxyError),
      );
    });
  return { client, stream, refused };
}
