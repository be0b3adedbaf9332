/** What connections and streams hold of memory while nothing happens on them, and what a crowd of them leaves behind. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import { openDoor } from '../test-http2-door.ts';
import { until } from '../test-peer.ts';
import { cut, get, HEADERS, headers, preface, settings } from './conformance/raw-frames.ts';
import { FrameWriter } from './frame-writer.ts';
import { frame } from './frames.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

/** Bytes that are in use. */
function used(): { heap: number; buffers: number } {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heap: heapUsed, buffers: arrayBuffers };
}

/** A door to a server that takes 200 streams a connection and answers none; and how many it has heard of. */
async function silent() {
  const heard = { streams: 0 };
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    let rest: Buffer = Buffer.alloc(0);
    let skip = preface.length;
    sockets.push(socket.on('error', () => {}));
    socket.write(settings(3, 200));
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(skip, chunk.length);
      skip -= skipped;
      const read = cut(Buffer.concat([rest, chunk.subarray(skipped)]));
      rest = read.rest;
      heard.streams += read.frames.filter(({ type }) => type === HEADERS).length;
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const door = await openDoor((server.address() as AddressInfo).port);
  cleanup.push(() => {
    for (const one of sockets) one.destroy();
    door.close();
    server.close();
  });
  const dial = async () => {
    const socket = connect(door.port, '127.0.0.1');
    sockets.push(socket.on('error', () => {}).resume());
    await once(socket, 'connect');
    socket.write(Buffer.concat([preface, settings()]));
    return socket;
  };
  return { heard, dial, door };
}

test('a request that waits for its answer holds 2 KB, at both ends of the proxy', async () => {
  const { heard, dial } = await silent();
  const ask = (socket: Socket, count: number) =>
    socket.write(Buffer.concat(Array.from({ length: count }, (_, i) => headers(2 * i + 1, get))));
  // The first of everything is not what is counted.
  ask(await dial(), 200);
  await until(() => heard.streams === 200, 'the first requests');
  const clients = [];
  for (let i = 0; i < 20; i++) clients.push(await dial());
  const before = used();
  for (const [i, one] of clients.entries()) {
    ask(one, 200);
    await until(() => heard.streams === (i + 2) * 200, 'the requests');
  }
  const after = used();
  expect((after.heap - before.heap) / 4_000).toBeLessThan(2_048);
  expect((after.buffers - before.buffers) / 4_000).toBeLessThan(1_024);
});

test('an idle connection holds 16 KB, with its client’s end', async () => {
  const { dial, door } = await silent();
  for (let i = 0; i < 10; i++) await dial();
  const before = used();
  for (let i = 0; i < 500; i++) await dial();
  await until(() => door.connections.length === 510, 'the connections');
  const after = used();
  expect((after.heap - before.heap) / 500).toBeLessThan(16_384);
  // Blocks that are kept for the next of them: 2 MiB.
  expect(after.buffers - before.buffers).toBeLessThan(4 << 20);
});

test('what a crowd of connections writes at once is freed at once, without a collection', async () => {
  let written = 0;
  const sink = () =>
    new Duplex({
      read() {},
      write(_chunk, _encoding, done) {
        setImmediate(() => {
          written++;
          done();
        });
      },
    });
  const writers = Array.from({ length: 300 }, () => new FrameWriter(sink(), () => {}));
  const before = process.memoryUsage().arrayBuffers;
  for (const one of writers) one.frame(frame.ping, 0, 0, Buffer.alloc(8));
  const most = process.memoryUsage().arrayBuffers - before;
  await until(() => written === 300, 'the frames');
  expect(most).toBeGreaterThan(10 << 20);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3 << 20);
});
