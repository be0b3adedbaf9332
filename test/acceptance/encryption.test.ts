/** What the network between pods carries, and whom a proxy speaks with. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { type ConnectionOptions, connect, createServer, type Server, type TlsOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { makeCertificate } from '../../protocol/x509.ts';
import { TestCa } from '../../proxy/tls/test-ca.ts';
import { tcpStreams, tlsRecords } from '../support/capture.ts';
import { unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { nodeCommand, type PodObject, type TestMesh, until, workload } from '../support/mesh.ts';

const secret = 'a-string-nobody-else-may-read';
const echo = `
import { createServer } from 'node:http';
createServer((request, response) => request.pipe(response)).listen(8000);`;

interface Shown {
  key: string;
  cert: string;
}

/** Certificates signed by the mesh's own issuer, as whoever stole its key could make them. */
class StolenIssuer {
  readonly #issuer: { subject: string; publicKey: KeyObject; privateKey: KeyObject };
  readonly #chain: string;
  readonly root: string;

  constructor(found: KubeObject) {
    const read = (name: string) => Buffer.from(found.data[name], 'base64').toString();
    const key = createPrivateKey(read('issuer.key'));
    const subject = new X509Certificate(read('issuer.crt')).subject.replace('CN=', '');
    this.#issuer = { subject, publicKey: createPublicKey(key), privateKey: key };
    this.#chain = read('issuer.crt');
    this.root = read('ca.crt');
  }

  sign(uris: string[], seconds = 600): Shown {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const notAfter = new Date(Date.now() + seconds * 1000);
    const notBefore = new Date(Date.now() - 50_000);
    const leaf = makeCertificate({
      subject: uris.length > 0 ? '' : 'nobody',
      publicKey,
      issuer: this.#issuer,
      notBefore,
      notAfter,
      ...(uris.length > 0 ? { names: { uris } } : {}),
    });
    return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: leaf + this.#chain };
  }
}

describe.skipIf(unable)('encryption', () => {
  let mesh: TestMesh;
  let client: PodObject;
  let server: PodObject;
  let plain: PodObject;
  let issuer: StolenIssuer;
  const identityOf = (account: string) => `spiffe://cluster.local/ns/${mesh.namespace}/sa/${account}`;

  beforeAll(async () => {
    mesh = await installMesh('encryption');
    const meshed = [workload('client', ['sleep', 'infinity']), workload('echo', nodeCommand(echo), { port: 8000 })];
    await mesh.apply(meshed.join('\n---\n'), true);
    await mesh.apply(workload('plain', ['sleep', 'infinity']), false);
    const apps = ['client', 'echo', 'plain'];
    [client, server, plain] = (await Promise.all(apps.map((app) => mesh.ready(app)))).map(([pod]) => pod!) as [
      PodObject,
      PodObject,
      PodObject,
    ];
    issuer = new StolenIssuer(await mesh.client.get(resources.secrets, 'mesh-identity', 'mesh-system'));
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  /** All that passes a pod's network interface while something runs, as a capture file. */
  async function captured(pod: PodObject, filter: string[], run: () => Promise<void>): Promise<Buffer> {
    const dump = ['tcpdump', '-Z', 'root', '-i', 'eth0', '-n', '-s', '0', '-U', '-w', '-', ...filter];
    const untilEnd = '"$@" & cat > /dev/null; kill -INT $!; wait $!';
    const dumping = mesh.start(pod, 'sh', '-c', untilEnd, 'sh', ...dump);
    const packets: Buffer[] = [];
    const size = () => Buffer.concat(packets).length;
    dumping.stdout.on('data', (chunk: Buffer) => packets.push(chunk));
    try {
      // The head of the file comes when it listens.
      await Promise.race([until('a listening tcpdump', () => size() >= 24), dumping.ended]);
      await run();
      await until('packets', () => size() > 1000, 5);
    } finally {
      dumping.stdin.end();
      await dumping.ended;
    }
    return Buffer.concat(packets);
  }

  const send = async (pod: PodObject) => {
    for (let i = 0; i < 5; i++)
      expect(await mesh.exec(pod, 'curl', '-s', '-m', '10', '-d', secret, 'http://echo:8000/')).toBe(secret);
  };

  test('between meshed pods everything is TLS 1.3 on port 15008', async () => {
    const capture = await captured(client, ['tcp'], () => send(client));
    expect(capture.toString('latin1')).not.toContain(secret);
    // Besides the two pods' own connection there is only the proxy's to the control plane.
    const streams = tcpStreams(capture).filter((stream) => stream.addresses.includes(server.status.podIP));
    expect(new Set(streams.map((stream) => stream.serverPort))).toEqual(new Set([15008]));
    const carried = { sent: 0, received: 0 };
    for (const stream of streams) {
      const sent = tlsRecords(stream.fromClient);
      const received = tlsRecords(stream.fromServer);
      expect([sent.rest, received.rest]).toEqual([0, 0]);
      // The hellos are in the clear, in records of type 22 (RFC 8446 section 5.1); the server's chooses TLS 1.3
      // (supported_versions, 43, 2 bytes, 0x0304). All else is application data, 23, but for the 20 of the disguise.
      expect(sent.records[0]!.type).toBe(22);
      expect(received.records[0]!.type).toBe(22);
      expect(received.records[0]!.body.includes(Buffer.from([0, 43, 0, 2, 3, 4]))).toBe(true);
      for (const record of [...sent.records.slice(1), ...received.records.slice(1)]) {
        expect([20, 23]).toContain(record.type);
        expect(record.version).toBe(0x0303);
      }
      carried.sent += sent.records.filter((record) => record.type === 23).length;
      carried.received += received.records.filter((record) => record.type === 23).length;
    }
    expect(Math.min(carried.sent, carried.received)).toBeGreaterThan(5);
  });

  test('a capture would show it: from a pod outside the mesh it is readable', async () => {
    const capture = await captured(plain, ['tcp', 'port', '8000'], () => send(plain));
    expect(capture.toString('latin1')).toContain(secret);
  });

  /** How often a proxy has refused for a reason. */
  async function refusals(pod: PodObject, direction: string, reason: string): Promise<number> {
    const text = await mesh.exec(pod, 'curl', '-s', '-m', '5', 'http://127.0.0.1:4191/metrics');
    const line = `mesh_tls_refused_total{direction="${direction}",reason="${reason}"} `;
    return Number(
      text
        .split('\n')
        .find((one) => one.startsWith(line))
        ?.slice(line.length) ?? 0,
    );
  }
  const logged = (pod: PodObject, message: string, reason: string) =>
    until(`${message}, ${reason}, in the log`, async () =>
      (await mesh.log(pod, 'mesh-proxy')).split('\n').some((line) => {
        const entry = line ? (JSON.parse(line) as Record<string, string>) : {};
        return entry.message === message && entry.reason === reason && entry.detail && entry.peer;
      }),
    );

  const foreign = (uri: string): Shown => {
    const { key, chain } = new TestCa().certify(uri);
    return { key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: chain };
  };
  const h2 = { ALPNProtocols: ['h2'] };
  const clients: [string, string, () => ConnectionOptions][] = [
    ['no-certificate', 'without a certificate', () => h2],
    [
      'certificate-expired',
      'whose certificate has expired',
      () => ({ ...h2, ...issuer.sign([identityOf('default')], -5) }),
    ],
    ['unknown-issuer', 'certified by another root', () => ({ ...h2, ...foreign(identityOf('default')) })],
    [
      'wrong-trust-domain',
      'of another trust domain',
      () => ({ ...h2, ...issuer.sign(['spiffe://other.example/ns/default/sa/default']) }),
    ],
    ['no-identity', 'whose certificate names nobody', () => ({ ...h2, ...issuer.sign([]) })],
    [
      'tls-version',
      'that speaks TLS 1.2',
      () => ({ ...h2, ...issuer.sign([identityOf('default')]), maxVersion: 'TLSv1.2' }),
    ],
    [
      'wrong-alpn',
      'that speaks HTTP/1.1',
      () => ({ ...issuer.sign([identityOf('default')]), ALPNProtocols: ['http/1.1'] }),
    ],
  ];
  test.each(clients)('%s: a client %s is refused', async (reason, _, options) => {
    const before = await refusals(server, 'inbound', reason);
    const socket = connect({
      socket: mesh.dial(plain, server.status.podIP, 15008),
      rejectUnauthorized: false,
      ...options(),
    });
    let answered = 0;
    socket.on('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'));
    socket.on('data', (chunk: Buffer) => (answered += chunk.length)).on('error', () => {});
    await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
    expect(answered).toBe(0);
    await logged(server, 'client refused', reason);
    expect(await refusals(server, 'inbound', reason)).toBe(before + 1);
  });

  test('the same client with a proper certificate is let in', async () => {
    const socket = connect({
      socket: mesh.dial(plain, server.status.podIP, 15008),
      rejectUnauthorized: false,
      ...h2,
      ...issuer.sign([identityOf('default')]),
    });
    socket.on('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'));
    const settings = await new Promise<Buffer>((resolve, reject) => {
      socket.once('data', resolve).once('error', reject);
    });
    expect(settings[3]).toBe(4); // its SETTINGS frame
    socket.destroy();
  });

  describe('a server is refused by the client’s proxy', () => {
    let impostor: PodObject;
    let current: Server;
    let seen = '';
    const serve = (options: TlsOptions) => {
      const asked = { ...options, requestCert: true, rejectUnauthorized: false };
      current = options.ALPNProtocols ? createSecureServer(asked) : createServer(asked);
      current.on('tlsClientError', () => {}).on('secureConnection', (socket) => socket.on('error', () => {}));
      current.on('session', (session) => session.on('error', () => {}));
      current.on('stream', (stream: ServerHttp2Stream) => {
        stream.on('error', () => {}).on('data', (chunk: Buffer) => (seen += chunk));
        stream.respond({ ':status': 200 });
      });
    };

    beforeAll(async () => {
      // For discovery a pod with a proxy; at port 15008 of its address, the test.
      const manifest = workload('impostor', ['sleep', 'infinity']);
      const pod = JSON.parse(manifest) as KubeObject;
      pod.spec.template.metadata.labels['mesh.dev/proxy'] = 'enabled';
      pod.spec.template.spec.containers[0].name = 'mesh-proxy';
      const service = {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'impostor' },
        spec: { selector: { app: 'impostor' }, ports: [{ port: 8000 }] },
      };
      await mesh.apply([pod, service].map((one) => JSON.stringify(one)).join('\n---\n'), false);
      [impostor] = (await mesh.ready('impostor')) as [PodObject];
      const listener = await mesh.serve(impostor, 15008, (socket) => current.emit('connection', socket), 'mesh-proxy');
      return () => void listener.close();
    });

    const servers: [string, string, () => TlsOptions][] = [
      ['identity-mismatch', 'of another service account', () => ({ ...h2, ...issuer.sign([identityOf('other')]) })],
      [
        'certificate-expired',
        'whose certificate has expired',
        () => ({ ...h2, ...issuer.sign([identityOf('default')], -5) }),
      ],
      ['unknown-issuer', 'certified by another root', () => ({ ...h2, ...foreign(identityOf('default')) })],
      [
        'wrong-trust-domain',
        'of another trust domain',
        () => ({ ...h2, ...issuer.sign(['spiffe://other.example/ns/default/sa/default']) }),
      ],
      [
        'tls-version',
        'that speaks TLS 1.2',
        () => ({ ...h2, ...issuer.sign([identityOf('default')]), maxVersion: 'TLSv1.2' }),
      ],
      ['wrong-alpn', 'that does not speak HTTP/2', () => ({ ...issuer.sign([identityOf('default')]) })],
    ];
    test.each(servers)('%s: a server %s', async (reason, _, make) => {
      serve(make());
      const before = await refusals(client, 'outbound', reason);
      const answer = await mesh.exec(client, 'curl', '-s', '-m', '10', '-d', secret, 'http://impostor:8000/');
      expect(answer).toContain(reason);
      expect(answer).toContain('[mesh identity-refused]');
      expect(seen).not.toContain(secret);
      await logged(client, 'server refused', reason);
      expect(await refusals(client, 'outbound', reason)).toBeGreaterThan(before);
    });

    test('the same server with the identity that was dialled is spoken with', async () => {
      serve({ ...h2, ...issuer.sign([identityOf('default')]) });
      const asked = mesh.exec(client, 'curl', '-s', '-m', '2', '-d', secret, 'http://impostor:8000/').catch(() => {}); // nobody answers
      await until('the request at the server', () => seen.includes(secret), 8);
      await asked;
    });
  });
});
