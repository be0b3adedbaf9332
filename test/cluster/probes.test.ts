/** Probes of every kind tell of the application, never of its proxy. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { injectAnnotation } from '../../protocol/names.ts';
import { deployment, isMeshed, script, TestCluster } from '../support/cluster.ts';
import { isReady, until } from '../support/mesh.ts';

const namespace = 'mesh-test-probes';

/**
 * Speaks HTTP on 8080, gRPC's health protocol on 9090, listens on 7070, and keeps a file for exec; unwell in all of
 * these after a GET /break.
 */
const probed = `
import { createServer } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createServer as createTcp } from 'node:net';
import { rmSync, writeFileSync } from 'node:fs';
let well = true;
writeFileSync('/tmp/well', '');
const plain = createTcp((socket) => socket.on('error', () => {}).end()).listen(7070);
createServer((request, response) => {
  if (request.url === '/break') { well = false; rmSync('/tmp/well', { force: true }); plain.close(); }
  response.writeHead(request.url === '/break' || well ? 200 : 500).end();
}).listen(8080);
createHttp2().on('stream', (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, well ? 1 : 2]));
}).listen(9090);`;
const ports = [
  { name: 'web', containerPort: 8080 },
  { name: 'raw', containerPort: 7070 },
];
const probes: Record<string, Json> = {
  http: { httpGet: { path: '/', port: 8080 } },
  'http-named': { httpGet: { path: '/', port: 'web' } },
  tcp: { tcpSocket: { port: 7070 } },
  'tcp-named': { tcpSocket: { port: 'raw' } },
  grpc: { grpc: { port: 9090 } },
  exec: { exec: { command: ['/opt/mesh/node', '-e', 'require("fs").accessSync("/tmp/well")'] } },
};

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install();
  await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

/** A Deployment of the program above, with these probes. */
function apply(name: string, given: Json): Promise<void> {
  const volumeMounts = [{ name: 'tmp', mountPath: '/tmp' }];
  const containers = [script('main', probed, { ports, volumeMounts, ...given })];
  return cluster.apply(...deployment(namespace, name, { containers, volumes: [{ name: 'tmp', emptyDir: {} }] }));
}

/** Makes a pod unwell, by a request that comes through its proxy. */
function breakDown(pod: KubeObject): Promise<void> {
  const source = `await fetch('http://${pod.status.podIP}:8080/break')`;
  const command = ['/opt/mesh/node', '--input-type=module', '-e', source];
  const { stdout, ended } = cluster.exec(namespace, pod.metadata.name!, 'main', command);
  stdout.resume();
  return ended;
}

const remove = (name: string) => cluster.client.delete(resources.deployments, name, namespace);
/** Slow programs on a slow machine are no failures here. */
const frequent = { periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 10 };

describe('a probe of a meshed pod', () => {
  it.each(Object.entries(probes))(
    'finds the application started and ready, then not ready: %s',
    async (name, probe) => {
      await apply(name, {
        startupProbe: { ...probe, ...frequent, failureThreshold: 60 },
        readinessProbe: { ...probe, ...frequent },
      });
      const [found] = await cluster.ready(namespace, name);
      expect(isMeshed(found!)).toBe(true);
      await breakDown(found!);
      const unready = async () => (await cluster.pods(namespace, `app=${name}`)).every((one) => !isReady(one));
      await until(`${name} is not ready`, unready, 60);
      await remove(name);
    },
  );

  it('has the application started anew where it finds it dead, and leaves one alone that is alive', async () => {
    const kinds = Object.keys(probes);
    for (const kind of kinds) {
      const readinessProbe = { ...probes[kind], ...frequent };
      await apply(`live-${kind}`, { livenessProbe: { ...readinessProbe, failureThreshold: 3 }, readinessProbe });
    }
    const restarts = async (kind: string) => {
      const [pod] = await cluster.ready(namespace, `live-${kind}`);
      const find = (list: Json[], name: string) => list.find((one) => one.name === name)!.restartCount as number;
      return {
        main: find(pod!.status.containerStatuses, 'main'),
        proxy: find(pod!.status.initContainerStatuses, 'mesh-proxy'),
      };
    };
    for (const kind of kinds) expect(await restarts(kind), kind).toEqual({ main: 0, proxy: 0 });
    for (const kind of kinds) await breakDown((await cluster.ready(namespace, `live-${kind}`))[0]!);
    for (const kind of kinds) {
      await until(`live-${kind} is started anew`, async () => (await restarts(kind)).main > 0, 90);
      expect((await restarts(kind)).proxy, kind).toBe(0);
    }
    for (const kind of kinds) await remove(`live-${kind}`);
  });

  it('finds a port closed on which nobody ever listened', async () => {
    await apply('closed', { readinessProbe: { tcpSocket: { port: 8081 }, ...frequent } });
    const closed = await until(
      'it runs',
      async () => {
        const [pod] = await cluster.pods(namespace, 'app=closed');
        return pod?.status.containerStatuses?.[0]?.started && pod;
      },
      60,
    );
    await until('the kubelet says that its port is closed', async () => {
      const events = await cluster.client.list(resources.events, {
        namespace,
        fieldSelector: `involvedObject.name=${closed.metadata.name}`,
      });
      return events.some((event) => event.reason === 'Unhealthy' && event.message.includes(':8081'));
    });
    expect(isReady((await cluster.pods(namespace, 'app=closed'))[0]!)).toBe(false);
  });
});
