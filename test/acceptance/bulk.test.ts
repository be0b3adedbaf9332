/** Much of everything: bytes, connections, and readers that do not read. The proxies' memory stays as it is. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Peer } from '../../proxy/test-peer.ts';
import { onCluster, unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import {
  type Application,
  type Gauge,
  nodeCommand,
  type PodObject,
  type PodSocket,
  type TestMesh,
  until,
  workload,
} from '../support/mesh.ts';

const gibibyte = 2 ** 30;
/** A cluster shares the machine's processors with the load. */
const amount = (onCluster ? 0.5 : 2) * gibibyte;
const sizes = `${amount / gibibyte} GiB`;
const bulk = `
import { createServer } from 'node:http';
import { createServer as createTcp } from 'node:net';
const block = Buffer.alloc(1 << 18, 'x');
let [crowd, written] = [0, 0];
function send(to, size) {
  let left = size;
  const more = () => {
    while (left > 0) {
      left -= block.length;
      written += block.length;
      if (!to.write(block)) return;
    }
    to.end();
  };
  to.on('drain', more);
  more();
}
function count(from, done) {
  let size = 0;
  from.on('data', (chunk) => (size += chunk.length)).on('end', () => done(String(size)));
}
createServer((request, response) => {
  if (request.method === 'PUT') return count(request, (size) => response.end(size));
  if (request.url === '/written') return response.end(JSON.stringify({ crowd, written }));
  const size = Number(request.url.slice(1));
  response.setHeader('content-length', size);
  send(response, size);
}).listen(8000);
createTcp({ allowHalfOpen: true }, (socket) => send(socket.resume(), ${amount})).listen(7001);
createTcp({ allowHalfOpen: true }, (socket) => count(socket, (size) => socket.end(size))).listen(7002);
createTcp((socket) => socket.on('error', () => {}).once('data', (first) => {
  if (String(first) === 'hello') return socket.end('hello');
  crowd++;
  send(socket, ${gibibyte});
})).listen(7003);
`;
/** Sends a size to port 7002 and prints the answer, or prints how much comes from port 7001. */
const tcpClient = `
import { connect } from 'node:net';
const [host, port, size] = process.argv.slice(1);
const socket = connect({ host, port: Number(port), allowHalfOpen: true });
const block = Buffer.alloc(1 << 18, 'x');
let left = Number(size);
const more = () => {
  while (left > 0) {
    left -= block.length;
    if (!socket.write(block)) return;
  }
  socket.end();
};
socket.on('drain', more);
more();
let [received, text] = [0, ''];
socket.on('data', (chunk) => {
  received += chunk.length;
  if (received < 100) text += chunk;
}).on('end', () => console.log(text || received));
`;

describe.skipIf(unable)('bulk', () => {
  let mesh: TestMesh;
  let client: PodObject;
  let server: PodObject;
  let address: string;
  let gauges: Gauge[] = [];

  beforeAll(async () => {
    mesh = await installMesh('bulk');
    const ports = [7000, 7001, 7002, 7003].map((port) => ({ name: `tcp-${port}`, port }));
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'tcp' },
      spec: { selector: { app: 'bulk' }, ports },
    };
    const documents = [workload('client', ['sleep', 'infinity']), workload('bulk', nodeCommand(bulk), { port: 8000 })];
    await mesh.apply([...documents, JSON.stringify(service)].join('\n---\n'), true);
    [client, server] = (await Promise.all(['client', 'bulk'].map((app) => mesh.ready(app)))).map(([pod]) => pod!) as [
      PodObject,
      PodObject,
    ];
    address = await mesh.address('tcp');
    gauges = await Promise.all([client, server].map((pod) => mesh.watchMemory(pod)));
    const report = await mesh.exec(client, 'wrk', '-t', '1', '-c', '8', '-d', '1s', 'http://bulk:8000/100');
    expect(report).not.toMatch(/Socket errors|Non-2xx/);
  });
  afterAll(async () => {
    for (const gauge of gauges) gauge.stop();
    expect((await mesh?.uninstall()) ?? []).toEqual([]);
  });

  /** Resident memory of both proxies, MB. */
  const resident = () => gauges.map((gauge) => gauge.last()) as [number, number];

  /** By how much the memory of either proxy was above its resting size while something ran, at most. */
  async function growth(what: string, run: () => Promise<void>): Promise<number> {
    const rest = resident();
    const peak: [number, number] = [...rest];
    const timer = setInterval(() => {
      resident().forEach((now, i) => {
        peak[i] = Math.max(peak[i]!, now);
      });
    }, 50);
    const from = performance.now();
    try {
      await run();
    } finally {
      clearInterval(timer);
    }
    const list = (sizes: number[]) => sizes.map((size) => size.toFixed(0)).join(' and ');
    const seconds = (performance.now() - from) / 1000;
    process.stderr.write(`${what}: proxies of ${list(rest)} MB, at most ${list(peak)}, ${seconds.toFixed(1)} s\n`);
    return Math.max(peak[0] - rest[0], peak[1] - rest[1]);
  }

  test(`${sizes} up and ${sizes} down, over HTTP`, async () => {
    const curl = (command: string) => mesh.exec(client, 'sh', '-c', `${command} http://bulk:8000/${amount}`);
    const grown = await growth(`HTTP, ${sizes} each way`, async () => {
      const [down, up] = await Promise.all([
        curl(`curl -sS -o /dev/null -w '%{size_download}'`),
        curl(`head -c ${amount} /dev/zero | curl -sS -T -`),
      ]);
      expect([Number(down), Number(up)]).toEqual([amount, amount]);
    });
    expect(grown).toBeLessThan(40);
  });

  test(`${sizes} up and ${sizes} down, opaque`, async () => {
    const grown = await growth(`opaque, ${sizes} each way`, async () => {
      const [down, up] = await Promise.all([
        mesh.script(client, tcpClient, 'tcp', '7001', '0'),
        mesh.script(client, tcpClient, 'tcp', '7002', String(amount)),
      ]);
      expect([Number(down), Number(up)]).toEqual([amount, amount]);
    });
    expect(grown).toBeLessThan(40);
  });

  describe('readers that do not read, and idle connections', () => {
    let application: Application;
    let onSocket: (socket: PodSocket) => void;
    const opened: PodSocket[] = [];

    beforeAll(async () => {
      application = await mesh.serve(server, 7000, (socket) => {
        opened.push(socket);
        socket.on('error', () => {}); // the test resets it
        onSocket(socket);
      });
      return () => void application.close();
    });
    afterEach(() => {
      for (const socket of opened.splice(0)) socket.destroy();
    });

    const dial = (port = 7000): PodSocket => {
      const socket = mesh.dial(client, address, port);
      socket.on('error', () => {}); // the test resets it
      opened.push(socket);
      return socket;
    };
    /** A socket that takes in nothing. */
    const dialUnread = (port?: number): PodSocket => dial(port).pause();
    const block = Buffer.alloc(1 << 18, 'x');
    /** Writes for as long as the other side takes it. */
    function flood(socket: PodSocket, state: { written: number }, limit: number): void {
      const more = () => {
        while (state.written < limit) {
          state.written += block.length;
          if (!socket.write(block)) return;
        }
        socket.end();
      };
      socket.on('drain', more);
      more();
    }
    /** The amount that has not grown for a second. */
    async function standstill(amount: () => number | Promise<number>): Promise<number> {
      let [last, since] = [0, Date.now()];
      const standing = async () => {
        const now = await amount();
        if (now !== last) [last, since] = [now, Date.now()];
        return last > 0 && Date.now() > since + 1000;
      };
      await until('a standstill', standing, 60);
      return last;
    }

    test.each(['server', 'client'])('a %s that writes is held back by a reader that does not read', async (writer) => {
      const state = { written: 0 };
      // In a cluster the test's own bytes take a long way.
      const limit = gibibyte / (onCluster ? 16 : 4);
      let reader: PodSocket | undefined;
      const grown = await growth(`${writer} held back`, async () => {
        onSocket = (socket) => {
          if (writer === 'server') flood(socket, state, limit);
          else reader = socket.pause();
        };
        const socket = writer === 'server' ? dialUnread() : dial();
        if (writer === 'server') {
          reader = socket;
          socket.write('go');
        } else flood(socket, state, limit);
        const held = await standstill(() => state.written);
        process.stderr.write(`${writer} held back after ${(held / 2 ** 20).toFixed(1)} MiB\n`);
        expect(held).toBeLessThan(32 << 20);
        // Nothing was lost: it reads on, and gets it all.
        let received = 0;
        reader!.on('data', (chunk: Buffer) => {
          received += chunk.length;
        });
        reader!.resume();
        await until('the rest', () => received >= limit, 60);
      });
      expect(grown).toBeLessThan(40);
    });

    test('10,000 idle connections', async () => {
      const many = 9_900; // the proxy takes 10,000 in all
      let accepted = 0;
      onSocket = (socket) => {
        accepted++;
        socket.on('data', (chunk: Buffer) => socket.write(chunk));
      };
      const grown = await growth(`${many} idle connections`, async () => {
        while (opened.length < 2 * many) {
          const before = accepted;
          for (let i = 0; i < 300; i++) dial();
          await until(`connections beyond ${before}`, () => accepted >= before + 300, 20);
        }
        const peer = new Peer(opened[0]!);
        peer.write('still there');
        await peer.reads('still there');
        expect(await mesh.exec(client, 'curl', '-sS', '-m', '5', 'http://bulk:8000/3')).toBe('xxx');
      });
      process.stderr.write(`${((grown * 1024) / many).toFixed(1)} KiB for each\n`);
      expect((grown * 1024) / many).toBeLessThan(48);
      for (const socket of opened.splice(0)) socket.destroy();
      await until('the end of all connections', async () => {
        const text = await mesh.exec(server, 'curl', '-sS', 'http://127.0.0.1:4191/metrics');
        const open = [...text.matchAll(/^mesh_tcp_open_connections{.*direction="inbound".*} (\d+)$/gm)];
        return open.reduce((sum, one) => sum + Number(one[1]), 0) < 20;
      });
    });

    test('a crowd of readers that do not read holds up nobody else', async () => {
      const size = 98;
      const sent = async () =>
        JSON.parse(await mesh.exec(server, 'curl', '-sS', 'http://127.0.0.1:8000/written')) as {
          crowd: number;
          written: number;
        };
      for (let i = 0; i < size; i++) dialUnread(7003).write('go');
      const grown = await growth(`${size} readers that do not read`, async () => {
        await until('the crowd', async () => (await sent()).crowd === size);
        await standstill(async () => (await sent()).written);
        const peer = new Peer(dial(7003));
        peer.write('hello');
        await peer.reads('hello');
      });
      expect(grown).toBeLessThan(150);
    });
  });
});
