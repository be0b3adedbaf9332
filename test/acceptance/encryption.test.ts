/** What the network between pods carries, and whom a proxy lets in. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCa } from '../../proxy/tls/test-ca.ts';
import { nodeCommand, type PodObject, TestMesh, unable, until, workload } from '../support/mesh.ts';

const secret = 'a-string-nobody-else-may-read';
const echo = `
import { createServer } from 'node:http';
createServer((request, response) => request.pipe(response)).listen(8000);`;
/** Prints what becomes of a TLS connection to a proxy that sent a request. */
const stranger = `
import { connect } from 'node:tls';
const [host, key, cert] = process.argv.slice(1);
const socket = connect({ host, port: 15008, ALPNProtocols: ['h2'], rejectUnauthorized: false, key: key || undefined, cert: cert || undefined });
let answered = 0;
socket.on('secureConnect', () => socket.write('PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'));
socket.on('data', (chunk) => (answered += chunk.length)).on('error', () => {});
socket.on('close', () => console.log('closed after ' + answered + ' bytes'));`;

describe.skipIf(unable)('encryption', () => {
  let mesh: TestMesh;
  let client: PodObject;
  let server: PodObject;
  let plain: PodObject;

  beforeAll(async () => {
    mesh = await TestMesh.install();
    const meshed = [workload('client', ['sleep', 'infinity']), workload('echo', nodeCommand(echo), { port: 8000 })];
    await mesh.apply(meshed.join('\n---\n'), true);
    await mesh.apply(workload('plain', ['sleep', 'infinity']), false);
    [[client], [server], [plain]] = (await Promise.all(['client', 'echo', 'plain'].map((app) => mesh.ready(app)))) as [
      [PodObject],
      [PodObject],
      [PodObject],
    ];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  /** All that passes a pod's network interface while something runs. */
  async function captured(pod: PodObject, port: number, run: () => Promise<void>): Promise<string> {
    const dump = ['tcpdump', '-i', 'eth0', '-l', '-n', '-s', '0', '-U', '-w', '-', 'tcp', 'port', String(port)];
    const child = spawn('nsenter', ['-t', String(mesh.pid(pod)), '-n', '--', ...dump]);
    const ended = new Promise((resolve) => child.once('close', resolve));
    let packets = '';
    let messages = '';
    child.stdout.on('data', (chunk: Buffer) => (packets += chunk.toString('latin1')));
    child.stderr.on('data', (chunk: Buffer) => (messages += chunk.toString()));
    try {
      await until('a listening tcpdump', () => /listening on/.test(messages));
      await run();
      await until('packets', () => packets.length > 1000, 5);
    } finally {
      child.kill('SIGINT');
      await ended;
    }
    return packets;
  }

  const send = async (pod: PodObject) => {
    for (let i = 0; i < 5; i++)
      expect(await mesh.exec(pod, 'curl', '-s', '-m', '10', '-d', secret, 'http://echo:8000/')).toBe(secret);
  };

  test('between meshed pods no content is readable', async () => {
    expect(await captured(client, 15008, () => send(client))).not.toContain(secret);
  });

  test('a capture would show it: from a pod outside the mesh it is readable', async () => {
    expect(await captured(plain, 8000, () => send(plain))).toContain(secret);
  });

  test('a client without a certificate is refused, and the log says so', async () => {
    await mesh.script(plain, stranger, server.status.podIP);
    await until('the refusal in the log', async () => /no-certificate/.test(await mesh.log(server, 'mesh-proxy')), 5);
  });

  test('a client with a certificate of its own making is refused, and the log says so', async () => {
    const { key, chain } = new TestCa().certify('spiffe://cluster.local/ns/default/sa/default');
    const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    await mesh.script(plain, stranger, server.status.podIP, pem, chain);
    await until('the refusal in the log', async () => /unknown-issuer/.test(await mesh.log(server, 'mesh-proxy')), 5);
  });
});
