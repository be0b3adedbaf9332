/** What becomes of tunnels whose peer is gone without a word, and of those that can take no more streams. */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { StreamIds } from '../http2/stream-ids.ts';
import { ca, connect, id, startServer } from './test-hbone.ts';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Time for the client that passes at once. */
const skipTime = () =>
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'performance'] });

/** A way to the server which a test can cut without either end hearing of it. */
async function relayTo(port: number) {
  const sockets: net.Socket[] = [];
  const relay = net.createServer((near) => {
    const far = net.connect(port, '127.0.0.1');
    sockets.push(near, far);
    near.pipe(far).pipe(near);
    for (const one of [near, far]) one.on('error', () => {});
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const one of sockets) one.unpipe().pause();
  };
  const close = () => {
    relay.close();
    for (const one of sockets) one.destroy();
  };
  return { port: (relay.address() as net.AddressInfo).port, cut, close };
}

async function turns(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 20_000 && !condition(); i++) await setImmediate();
  expect(condition()).toBe(true);
}

test.each([
  ['takes more streams', false],
  ['is being drained', true],
])('a peer that is gone without a word is noticed: its tunnel %s', async (_, drained) => {
  const { server } = await startServer();
  const relay = await relayTo(server.port);
  skipTime();
  const { stream } = connect(relay.port, ca.credentials(id('client')));
  const carried = await stream();
  let lost = false;
  carried
    .on('error', () => {})
    .on('close', () => {
      lost = true;
    });
  if (drained) server.drain();
  await turns(() => carried.session.usable === !drained);
  relay.cut();
  await vi.advanceTimersByTimeAsync(29_000);
  expect(lost).toBe(false);
  await vi.advanceTimersByTimeAsync(2_000);
  await turns(() => lost);
  relay.close();
});

test('a connection whose stream numbers are used up takes its last streams to their end and is closed', async () => {
  const { server } = await startServer();
  skipTime();
  const { stream } = connect(server.port, ca.credentials(id('client')));
  const last = await stream();
  // Those of the first connection, which is the first to be asked.
  let usedUp: unknown;
  vi.spyOn(StreamIds.prototype, 'left', 'get').mockImplementation(function (this: StreamIds) {
    usedUp ??= this;
    return this !== usedUp;
  });
  expect((await stream()).session).not.toBe(last.session);
  await vi.advanceTimersByTimeAsync(10_000);
  await turns(() => server.state.connections === 2);
  last.on('error', () => {}).destroy();
  await turns(() => server.state.streams === 1);
  await vi.advanceTimersByTimeAsync(10_000);
  await turns(() => server.state.connections === 1);
});

test('the system asks whether a silent client is still there', async () => {
  const { server } = await startServer();
  const stream = await connect(server.port, ca.credentials(id('client'))).stream();
  const port = server.port.toString(16).toUpperCase().padStart(4, '0');
  // proc(5): local address, remote address, state 01 (established), queues, and of what kind the timer is: 02 asks.
  const accepted = new RegExp(`: 0100007F:${port} \\S+ 01 \\S+ 02:`);
  await expect.poll(() => readFileSync('/proc/net/tcp', 'utf8')).toMatch(accepted);
  stream.on('error', () => {}).destroy();
});
