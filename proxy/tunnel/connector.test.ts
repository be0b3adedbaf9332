import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import type { Address, Endpoint } from '../../protocol/discovery.ts';
import type { SpiffeId } from '../../protocol/identity.ts';
import type { Carrier, CarrierHandler } from '../carrier.ts';
import { errorCode } from '../http2/frames.ts';
import { TimerWheel } from '../net/timer-wheel.ts';
import { TestCa } from '../tls/test-ca.ts';
import { PoolingConnector } from './connector.ts';
import { HboneClient } from './hbone-client.ts';
import { HboneServer, type TunnelRequest } from './hbone-server.ts';
import { tunnelSettings } from './settings.ts';

const ca = new TestCa();
const id = (account: string) => `spiffe://cluster.local/ns/shop/sa/${account}` as SpiffeId;
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

async function startTcp(): Promise<{ endpoint: Endpoint; sockets: Socket[]; server: Server }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {}).resume();
    sockets.push(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { endpoint: { address: `127.0.0.1:${(server.address() as AddressInfo).port}` as Address }, sockets, server };
}

function makeConnector(hbone?: HboneClient) {
  const timers = new TimerWheel();
  const connector = new PoolingConnector({ hbone, timers, connectTimeoutMs: 1000 });
  cleanup.push(() => {
    connector.close();
    timers.stop();
  });
  const open = (endpoint: Endpoint, fresh = false) =>
    new Promise<Carrier>((resolve, reject) =>
      connector.connect(endpoint, fresh, (error, carrier) => (carrier ? resolve(carrier) : reject(error))),
    );
  return { connector, timers, open };
}

async function startTunnel(onTunnel: (request: TunnelRequest) => void) {
  const server = new HboneServer({
    credentials: ca.credentials(id('server')),
    trustDomain: 'cluster.local',
    podIps: ['127.0.0.1'],
    onTunnel,
    onRefused: () => {},
  });
  await server.listen(0, '127.0.0.1');
  const credentials = ca.credentials(id('client'));
  const client = new HboneClient({
    credentials,
    trustDomain: 'cluster.local',
    connectTimeoutMs: 1000,
    baggage: '',
    port: server.port,
    onRefused: () => {},
  });
  cleanup.push(() => {
    client.close();
    server.destroy();
  });
  const endpoint: Endpoint = { address: '127.0.0.1:80' as Address, identity: id('server') };
  return { credentials, endpoint, ...makeConnector(client) };
}

const listening = (): CarrierHandler => ({
  onCarrierData() {},
  onCarrierEnd() {},
  onCarrierDrain() {},
  onCarrierClose() {},
});

test('a released carrier is used again, a fresh one never is', async () => {
  const { endpoint, sockets } = await startTcp();
  const { open } = makeConnector();
  const first = await open(endpoint);
  expect(first.reused).toBe(false);
  first.release();
  expect(await open(endpoint)).toBe(first);
  expect(first.reused).toBe(true);
  first.release();
  expect(await open(endpoint, true)).not.toBe(first);
  await vi.waitFor(() => expect(sockets).toHaveLength(2));
});

test('bytes on an idle carrier destroy it: they can never be the next response', async () => {
  const { endpoint, sockets } = await startTcp();
  const { open } = makeConnector();
  const first = await open(endpoint);
  await vi.waitFor(() => expect(sockets).toHaveLength(1));
  first.release();
  sockets[0]!.write('HTTP/1.1 200 OK\r\n\r\n');
  await once(sockets[0]!, 'close');
  expect(await open(endpoint)).not.toBe(first);
});

test('a carrier that is idle too long is ended', async () => {
  const { endpoint, sockets } = await startTcp();
  const { open, timers } = makeConnector();
  const first = await open(endpoint);
  await vi.waitFor(() => expect(sockets).toHaveLength(1));
  first.release();
  const closed = once(sockets[0]!, 'close');
  timers.tick(timers.now + 10_000);
  await closed;
  expect(await open(endpoint)).not.toBe(first);
});

test('one endpoint keeps 256 idle carriers at most', async () => {
  const { endpoint, sockets } = await startTcp();
  const { open } = makeConnector();
  const carriers = await Promise.all(Array.from({ length: 260 }, () => open(endpoint)));
  await vi.waitFor(() => expect(sockets).toHaveLength(260));
  for (const carrier of carriers) carrier.release();
  await vi.waitFor(() => expect(sockets.filter((socket) => socket.readableEnded || socket.destroyed)).toHaveLength(4));
  const again = await Promise.all(Array.from({ length: 257 }, () => open(endpoint)));
  expect(again.filter((carrier) => carriers.includes(carrier))).toHaveLength(256);
});

test('a detached carrier that fails before its taker listens ends nothing else', async () => {
  const { endpoint, sockets } = await startTcp();
  const { open } = makeConnector();
  const carrier = await open(endpoint);
  await vi.waitFor(() => expect(sockets).toHaveLength(1));
  const duplex = carrier.detach();
  const closed = new Promise((resolve) => duplex.once('close', resolve));
  duplex.destroy(new Error('reset'));
  await closed;
  expect(duplex.destroyed).toBe(true);
});

test('a refused connection says so, and may be tried elsewhere', async () => {
  const { endpoint, server } = await startTcp();
  server.close();
  await once(server, 'close');
  const { open } = makeConnector();
  await expect(open(endpoint)).rejects.toMatchObject({ code: 'connect-failed', source: 'server', retry: 'yes' });
});

test('idle tunnels of a replaced certificate are not used again', async () => {
  let tunnels = 0;
  const { credentials, endpoint, open } = await startTunnel((request) => {
    tunnels++;
    request.accept().resume();
  });
  const [idle, busy] = await Promise.all([open(endpoint), open(endpoint)]);
  idle.release();
  credentials.setCertified(ca.certify(id('client')));
  busy.release();
  const next = await open(endpoint);
  expect(next).not.toBe(idle);
  expect(next).not.toBe(busy);
  next.release();
  expect(await open(endpoint)).toBe(next);
  expect(tunnels).toBe(3);
});

test('a tunnel that is paused lets through what its window does, at once and no more; released, it is paused no longer', async () => {
  const content = Buffer.alloc(3 * tunnelSettings.streamWindow, 'c');
  const { endpoint, open } = await startTunnel((request) => {
    const stream = request.accept();
    stream.on('data', () => stream.write(content));
  });
  const carrier = await open(endpoint);
  let heard = 0;
  const hear = () => {
    carrier.handler = {
      ...listening(),
      onCarrierData(chunk) {
        heard += chunk.length;
        carrier.pause();
      },
    };
    carrier.write(Buffer.from('go'), false);
  };
  hear();
  await vi.waitFor(() => expect(heard).toBe(tunnelSettings.streamWindow));
  await wait(50);
  expect(heard).toBe(tunnelSettings.streamWindow);
  carrier.resume();
  await vi.waitFor(() => expect(heard).toBe(2 * tunnelSettings.streamWindow));
  carrier.resume();
  await vi.waitFor(() => expect(heard).toBe(content.length));
  carrier.release();
  expect(await open(endpoint)).toBe(carrier);
  hear();
  // The whole window is there again.
  await vi.waitFor(() => expect(heard).toBe(content.length + tunnelSettings.streamWindow));
  // Given away while it is paused, it is its taker's to pause and resume.
  carrier
    .detach()
    .on('data', (chunk: Buffer) => {
      heard += chunk.length;
    })
    .resume();
  await vi.waitFor(() => expect(heard).toBe(2 * content.length));
});

test('a stream the peer refuses may be tried elsewhere', async () => {
  const { endpoint, open } = await startTunnel((request) => {
    const stream = request.accept();
    stream.once('data', () => stream.reset(errorCode.refusedStream));
  });
  const carrier = await open(endpoint);
  const heard: unknown[] = [];
  const closed = new Promise<void>((resolve) => {
    carrier.handler = {
      ...listening(),
      onCarrierEnd: () => heard.push('end'),
      onCarrierClose(error) {
        heard.push(error);
        resolve();
      },
    };
  });
  carrier.write(Buffer.from('POST / HTTP/1.1\r\n'), false);
  await closed;
  expect(heard).toEqual([expect.objectContaining({ code: 'connect-failed', retry: 'yes' })]);
});

test('a sweep while connections are out leaves one pool for all of them', async () => {
  const { endpoint } = await startTcp();
  const { timers, open } = makeConnector();
  const first = await open(endpoint);
  timers.tick(performance.now() + 2_000);
  const second = await open(endpoint);
  second.release();
  first.release();
  expect(new Set([await open(endpoint), await open(endpoint)])).toEqual(new Set([first, second]));
});
