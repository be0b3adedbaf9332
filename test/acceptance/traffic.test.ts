/** What programs see of each other through the mesh: everything they saw without it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeCommand, type PodObject, TestMesh, unable, workload } from '../support/mesh.ts';

const megabytes = 200;
const bulk = `
import { createServer } from 'node:http';
const block = Buffer.alloc(1 << 20, 'x');
createServer(async (request, response) => {
  if (request.method === 'PUT') {
    let size = 0;
    for await (const chunk of request) size += chunk.length;
    return response.end(String(size));
  }
  if (request.url !== '/bulk') return response.end('hello');
  for (let i = 0; i < ${megabytes}; i++)
    if (!response.write(block)) await new Promise((resolve) => response.once('drain', resolve));
  response.end();
}).listen(8000);`;
const greeter = `
import { createServer } from 'node:net';
createServer((socket) => socket.on('error', () => {}).end('220 hello\\r\\n')).listen(2525);`;
const counter = `
import { createServer } from 'node:net';
createServer({ allowHalfOpen: true }, (socket) => {
  let size = 0;
  socket.on('data', (chunk) => (size += chunk.length)).on('error', () => {});
  socket.on('end', () => socket.end('got ' + size));
}).listen(7000);`;

describe.skipIf(unable)('traffic', () => {
  let mesh: TestMesh;
  let client: PodObject;
  let plain: PodObject;

  beforeAll(async () => {
    mesh = await TestMesh.install();
    const meshed = [
      workload('client', ['sleep', 'infinity']),
      workload('bulk', nodeCommand(bulk), { port: 8000 }),
      workload('greeter', nodeCommand(greeter), { port: 2525 }),
      workload('counter', nodeCommand(counter), { port: 7000 }),
      workload('redis', ['redis-server', '--save', '', '--protected-mode', 'no', '--dir', '/tmp'], { port: 6379 }),
    ];
    await mesh.apply(meshed.join('\n---\n'), true);
    const outside = [
      workload('plain', ['sleep', 'infinity']),
      workload('outside', ['/usr/bin/python3', '-m', 'http.server', '8000', '-d', '/opt/mesh'], { port: 8000 }),
    ];
    await mesh.apply(outside.join('\n---\n'), false);
    const apps = ['client', 'plain', 'bulk', 'greeter', 'counter', 'redis', 'outside'];
    [client, plain] = (await Promise.all(apps.map((app) => mesh.ready(app)))).map(([pod]) => pod!) as [
      PodObject,
      PodObject,
    ];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const status = (pod: PodObject, url: string) =>
    mesh.exec(pod, 'curl', '-s', '-m', '10', '-o', '/dev/null', '-w', '%{http_code}', url);

  test('HTTP within the mesh, into it and out of it', async () => {
    expect(await status(client, 'http://bulk:8000/')).toBe('200');
    expect(await status(plain, 'http://bulk:8000/')).toBe('200');
    expect(await status(client, 'http://outside:8000/')).toBe('200');
  });

  test('redis', async () => {
    expect(await mesh.exec(client, 'redis-cli', '-h', 'redis', 'set', 'color', 'green')).toBe('OK');
    expect(await mesh.exec(client, 'redis-cli', '-h', 'redis', 'get', 'color')).toBe('green');
  });

  test('a server that speaks first is heard within 200 ms', async () => {
    const first = await mesh.script(
      client,
      `import { connect } from 'node:net';
       const times = [];
       for (let i = 0; i < 5; i++) {
         const from = performance.now();
         const socket = connect(2525, 'greeter');
         const bytes = await new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject));
         times.push(bytes.toString().startsWith('220 hello') ? performance.now() - from : Infinity);
         socket.destroy();
       }
       console.log(times.map(Math.round).join(' '));`,
    );
    // The first connection also finds the name and asks for the service; the others must not wait.
    expect(
      Math.max(
        ...first
          .split(' ')
          .slice(1)
          .map((time) => (time === 'Infinity' ? Number.POSITIVE_INFINITY : Number(time))),
      ),
      first,
    ).toBeLessThan(200);
  });

  test('a client that ends its side still gets its answer', async () => {
    const answer = await mesh.script(
      client,
      `import { connect } from 'node:net';
       const socket = connect({ port: 7000, host: 'counter', allowHalfOpen: true });
       socket.end(Buffer.alloc(300000, '\\x01'));
       let text = '';
       for await (const chunk of socket) text += chunk;
       console.log(text);`,
    );
    expect(answer).toBe('got 300000');
  });

  test(`${megabytes} MB up and down whole`, async () => {
    const size = megabytes * 2 ** 20;
    const down = await mesh.exec(
      client,
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
      'http://bulk:8000/bulk',
    );
    expect(Number(down)).toBe(size);
    const up = await mesh.exec(
      client,
      'sh',
      '-c',
      `head -c ${size} /dev/zero | curl -s -T - -H 'Expect:' http://bulk:8000/`,
    );
    expect(Number(up)).toBe(size);
  });
});
