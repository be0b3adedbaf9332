/** What programs see of each other through the mesh: everything they saw without it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Peer } from '../../proxy/test-peer.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import {
  type Application,
  nodeCommand,
  type PodObject,
  type PodSocket,
  type TestMesh,
  until,
  workload,
} from '../support/mesh.ts';
import { dialFrom, type PodPeer } from '../support/sockets.ts';

const idle = ['sleep', 'infinity'];
const udpEcho = `
import { createSocket } from 'node:dgram';
const socket = createSocket('udp4').on('message', (data, from) => socket.send(data, from.port, from.address)).bind(5300);`;
const udpAsk = `
import { createSocket } from 'node:dgram';
const socket = createSocket('udp4');
socket.once('message', (data, from) => { console.log(data + ' from ' + from.address); socket.close(); });
socket.send('hello', 5300, process.argv[1]);`;
/** What no HTTP parser lets pass, and everything unparsed does. */
const notQuiteHttp = 'GET  / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n';

const service = (name: string, app: string, spec: object): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector: { app }, ...spec } });

describe.skipIf(unable)('traffic', () => {
  let mesh: TestMesh;
  const pods: Record<string, PodObject> = {};
  const ip = (app: string) => pods[app]!.status.podIP;

  beforeAll(async () => {
    mesh = await installMesh('traffic');
    const meshed = [
      workload('client', idle),
      workload('web', idle),
      workload('tuned', idle, { settings: { 'skip-inbound-ports': '9100-9110', 'opaque-ports': '9200' } }),
      workload('skipper', idle, { settings: { 'skip-outbound-ports': '8000' } }),
      workload('udp', nodeCommand(udpEcho)),
      service('web', 'web', {
        ports: [
          { name: 'main', port: 80, targetPort: 8000 },
          { name: 'http', port: 81, targetPort: 8001, appProtocol: 'http' },
          { name: 'tcp', port: 82, targetPort: 8002, appProtocol: 'example.com/own' },
        ],
      }),
      service('headless', 'web', { clusterIP: 'None', ports: [{ port: 8000 }] }),
      service('alias', 'web', { type: 'ExternalName', externalName: `web.${mesh.namespace}.svc.cluster.local` }),
      service('tuned', 'tuned', { ports: [{ port: 9200 }] }),
      service('udp', 'udp', { ports: [{ port: 5300, protocol: 'UDP' }] }),
    ];
    await mesh.apply(meshed.join('\n---\n'), true);
    const unmeshed = [
      workload('plain', idle),
      workload('unmeshed', idle),
      service('unmeshed', 'unmeshed', { ports: [{ port: 80, targetPort: 8000 }] }),
    ];
    await mesh.apply(unmeshed.join('\n---\n'), false);
    const apps = ['client', 'web', 'tuned', 'skipper', 'udp', 'plain', 'unmeshed'];
    for (const [pod] of await Promise.all(apps.map((app) => mesh.ready(app)))) pods[pod!.metadata.labels!.app!] = pod!;
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const listeners: Application[] = [];
  const opened: PodPeer[] = [];
  let accepted: PodPeer[];
  beforeEach(() => {
    accepted = [];
  });
  afterEach(() => {
    for (const peer of opened.splice(0)) peer.socket.destroy();
    for (const listener of listeners.splice(0)) listener.close();
  });

  /** An application of the test's own in a pod. */
  async function serve(app: string, port: number, onConnection: (peer: PodPeer) => void = () => {}): Promise<void> {
    const accept = (socket: PodSocket) => {
      const peer = new Peer(socket);
      accepted.push(peer);
      opened.push(peer);
      onConnection(peer);
    };
    listeners.push(await mesh.serve(pods[app]!, port, accept));
  }
  function dial(app: string, address: string, port: number): PodPeer {
    const peer = dialFrom(mesh, pods[app]!, address, port);
    opened.push(peer);
    return peer;
  }
  const arrived = () => until('a connection at the application', () => accepted.at(-1), 8);
  /** Answers HTTP requests with a name. */
  const named = (name: string) => (peer: PodPeer) =>
    peer.socket.on('data', () => peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\n\r\n${name}`));
  const curl = (app: string, url: string) => mesh.exec(pods[app]!, 'curl', '-sS', '-m', '10', url);
  /** How many requests a proxy has counted with these labels. */
  async function requests(app: string, ...labels: string[]): Promise<number> {
    const text = await curl(app, 'http://127.0.0.1:4191/metrics');
    const lines = text.split('\n').filter((line) => line.startsWith('mesh_requests_total{'));
    const matching = lines.filter((line) => labels.every((label) => line.includes(label)));
    return matching.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  test.each([
    ['client', 'unmeshed', 'direction="outbound"', 'tls="plain"'],
    ['plain', 'web', undefined, undefined],
    ['client', 'web', 'direction="outbound"', 'tls="mtls"'],
  ])('HTTP from %s to %s', async (from, to, ...labels) => {
    await serve(to, 8000, named(to));
    if (from === 'plain') await mesh.reaches(pods.plain!, `http://${to}/`);
    const counted = labels[0] ? () => requests(from, ...(labels as string[]), `peer_name="${to}"`) : () => 0;
    const before = await counted();
    expect(await curl(from, `http://${to}/`)).toBe(to);
    expect(await counted()).toBe(labels[0] ? before + 1 : 0);
  });

  test.each([
    'http://web/',
    'http://headless:8000/',
    'http://alias/',
    'http://web.NAMESPACE.svc.cluster.local/',
    'pod',
  ])('by %s', async (url) => {
    await serve('web', 8000, named('web'));
    const before = await requests('client', 'tls="mtls"');
    expect(
      await curl('client', url === 'pod' ? `http://${ip('web')}:8000/` : url.replace('NAMESPACE', mesh.namespace)),
    ).toBe('web');
    expect(await requests('client', 'tls="mtls"')).toBe(before + 1);
  });

  test('a pod that calls its own service', async () => {
    await serve('web', 8000, named('web'));
    expect(await curl('web', 'http://web/')).toBe('web');
  });

  test.each(['127.0.0.1', 'own'])('traffic to %s inside a pod is untouched', async (address) => {
    await serve('client', 8123);
    const peer = dial('client', address === 'own' ? ip('client') : address, 8123);
    peer.write(notQuiteHttp);
    expect(await (await arrived()).reads('\r\n\r\n')).toBe(notQuiteHttp);
  });

  test('out of the mesh: HTTP, and a server that speaks first', async ({ skip }) => {
    const outside = await mesh.outside();
    if (!outside) return skip('this machine has no address but loopback');
    const server = await outside.serve((socket) => {
      socket.on('error', () => {}); // the client goes
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\noutside'));
    });
    const greeter = await outside.serve((socket) => socket.on('error', () => {}).end('220 hello\r\n'));
    listeners.push(server, greeter);
    expect(await curl('client', `http://${outside.address}:${server.port}/`)).toBe('outside');
    await dial('client', outside.address, greeter.port).reads('220 hello\r\n');
  });

  test('UDP passes by, to a pod and to a service', async () => {
    for (const address of [ip('udp'), await mesh.address('udp')])
      expect(await mesh.script(pods.client!, udpAsk, address)).toBe(`hello from ${address}`);
  });

  test('skipped inbound ports: the client itself arrives, unparsed', async () => {
    await serve('tuned', 9105);
    dial('plain', ip('tuned'), 9105).write(notQuiteHttp);
    const application = await arrived();
    expect(await application.reads('\r\n\r\n')).toBe(notQuiteHttp);
    expect(application.socket.remoteAddress).toBe(ip('plain'));
  });

  test('skipped outbound ports: the server sees the client itself', async () => {
    await serve('unmeshed', 8000);
    dial('skipper', ip('unmeshed'), 8000).write(notQuiteHttp);
    expect(await (await arrived()).reads('\r\n\r\n')).toBe(notQuiteHttp);
  });

  test('opaque-ports: carried unparsed, encrypted all the same', async () => {
    await serve('tuned', 9200);
    dial('client', await mesh.address('tuned'), 9200).write(notQuiteHttp);
    expect(await (await arrived()).reads('\r\n\r\n')).toBe(notQuiteHttp);
    const text = await curl('tuned', 'http://127.0.0.1:4191/metrics');
    const carried = text.split('\n').find((line) => /^mesh_tcp_bytes_total{.*tls="mtls".*flow="sent"/.test(line));
    expect(Number(carried?.split(' ').at(-1))).toBeGreaterThan(0);
  });

  test('appProtocol: http is HTTP at once, what is not known is opaque', async () => {
    const address = await mesh.address('web');
    await Promise.all([serve('web', 8001), serve('web', 8002)]);
    const http = dial('client', address, 81);
    http.write('PING\r\n');
    expect(await http.reads('[mesh ')).toMatch(/^HTTP\/1\.1 400 /);
    expect(accepted.map((peer) => peer.text).join('')).toBe('');
    dial('client', address, 82).write(notQuiteHttp);
    await until('it at the application', () => accepted.some((peer) => peer.text === notQuiteHttp), 8);
  });

  describe('connections', () => {
    let address: string;
    beforeAll(async () => {
      address = await mesh.address('web');
    });

    // On a port where no client has spoken HTTP before: there, one is given a second to.
    test('a server that speaks first is heard within 200 ms', async () => {
      await serve('web', 8126, (peer) => peer.write('220 hello\r\n'));
      const times: number[] = [];
      for (let i = 0; i < 5; i++) {
        const from = performance.now();
        await dial('client', ip('web'), 8126).reads('220 hello\r\n');
        times.push(Math.round(performance.now() - from));
      }
      process.stderr.write(`a greeting through the mesh, ms: ${times.join(' ')}\n`);
      expect(Math.max(...times), times.join(' ')).toBeLessThan(200);
    });

    test('the client ends its side first and hears the rest', async () => {
      await serve('web', 8000);
      const client = dial('client', address, 80);
      client.socket.end('QUESTION\r\n');
      const server = await arrived();
      await server.reads('QUESTION\r\n');
      await until('the end at the server', () => server.ended, 8);
      server.write('part one, ');
      await client.reads('part one, ');
      server.socket.end('part two');
      expect(await client.reads('two')).toBe('part one, part two');
      await until('the end at the client', () => client.ended, 8);
    });

    test('the server ends its side first and hears the rest', async () => {
      await serve('web', 8000);
      const client = dial('client', address, 80);
      client.write('HELLO\r\n');
      const server = await arrived();
      await server.reads('HELLO\r\n');
      server.socket.end('bye');
      await client.reads('bye');
      await until('the end at the client', () => client.ended, 8);
      client.write('one more thing');
      await server.reads('one more thing');
      client.socket.end('done');
      await server.reads('done');
      await until('both to be closed', () => client.closed && server.closed, 8);
    });

    test.each(['server', 'client'])('a reset by the %s arrives as a reset', async (from) => {
      await serve('web', 8000);
      const client = dial('client', address, 80);
      client.write('HELLO\r\n');
      const server = await arrived();
      await server.reads('HELLO\r\n');
      server.write('hello');
      await client.reads('hello');
      const [resetting, other] = from === 'server' ? [server, client] : [client, server];
      resetting.socket.resetAndDestroy();
      await until('the reset', () => other.closed, 8);
      expect(other.error).toBe('ECONNRESET');
    });

    test('where nobody listens, a meshed client is reset and another refused', async () => {
      const [meshed, plain] = [dial('client', ip('web'), 8999), dial('plain', ip('web'), 8999)];
      meshed.write('HELLO\r\n');
      await until('both ends', () => meshed.closed && plain.closed, 8);
      expect([meshed.error, plain.error]).toEqual(['ECONNRESET', 'ECONNREFUSED']);
    });

    test('a line protocol, byte by byte', async () => {
      await serve('web', 8000, (peer) =>
        peer.socket.on('data', () => peer.text.endsWith('\n') && peer.write('250 OK\r\n')),
      );
      const client = dial('client', address, 80);
      for (const letter of 'EHLO shop\r\n') client.write(letter);
      await client.reads('250 OK\r\n');
      expect(accepted.at(-1)!.text).toBe('EHLO shop\r\n');
    });
  });
});
