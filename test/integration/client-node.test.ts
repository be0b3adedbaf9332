/** The published JavaScript client against the local mesh's API server: what programs in pods and tools use. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { AppsV1Api, CoreV1Api, Exec, KubeConfig, Log, makeInformer, PortForward, Watch } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiServer } from '../../local/api/server.ts';
import { pipedSession } from '../../local/objects.ts';
import { until } from '../support/mesh.ts';

describe('@kubernetes/client-node', () => {
  let folder: string;
  let server: ApiServer;
  let echo: Server;
  const config = new KubeConfig();

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-client-'));
    echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await new Promise((listening) => echo.once('listening', listening));
    server = new ApiServer({
      stateFile: join(folder, 'state.db'),
      servicePrefix: '10.96',
      fixedServices: { 'default/kubernetes': '10.96.0.1' },
      names: { dns: ['localhost'], ips: ['127.0.0.1'] },
      log: (message) => process.stderr.write(`${message}\n`),
    });
    server.setRuntime({
      logs: () => {
        const stream = new PassThrough();
        stream.end('one\ntwo\n');
        return stream;
      },
      exec: async (_namespace, _pod, _container, command) => pipedSession(spawn(command[0]!, command.slice(1))),
      connect: async () => connect((echo.address() as { port: number }).port, '127.0.0.1'),
      stats: () => ({ pods: [] }),
    });
    await server.bootstrap();
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    config.loadFromOptions({
      clusters: [
        { name: 'local', server: `https://127.0.0.1:${port}`, caData: Buffer.from(server.root).toString('base64') },
      ],
      users: [{ name: 'admin', token: server.adminToken }],
      contexts: [{ name: 'local', cluster: 'local', user: 'admin' }],
      currentContext: 'local',
    });
    const pod = { metadata: { name: 'one' }, spec: { containers: [{ name: 'main', image: 'x' }] } };
    await config.makeApiClient(CoreV1Api).createNamespacedPod({ namespace: 'default', body: pod });
  });
  afterAll(() => {
    server?.close();
    echo?.close();
    if (folder) rmSync(folder, { recursive: true });
  });

  test('creates, reads, scales and deletes; a missing object is a 404', async () => {
    const apps = config.makeApiClient(AppsV1Api);
    const labels = { app: 'web' };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'x' }] } };
    const body = { metadata: { name: 'web' }, spec: { replicas: 1, selector: { matchLabels: labels }, template } };
    await apps.createNamespacedDeployment({ namespace: 'default', body });
    const scale = await apps.readNamespacedDeploymentScale({ namespace: 'default', name: 'web' });
    scale.spec!.replicas = 4;
    await apps.replaceNamespacedDeploymentScale({ namespace: 'default', name: 'web', body: scale });
    expect((await apps.readNamespacedDeployment({ namespace: 'default', name: 'web' })).spec?.replicas).toBe(4);
    expect((await apps.listDeploymentForAllNamespaces({ limit: 1 })).items).toHaveLength(1);
    await apps.deleteNamespacedDeployment({ namespace: 'default', name: 'web' });
    await expect(apps.readNamespacedDeployment({ namespace: 'default', name: 'web' })).rejects.toMatchObject({
      code: 404,
    });
  });

  test('watches and keeps an informer', async () => {
    const core = config.makeApiClient(CoreV1Api);
    const path = '/api/v1/namespaces/default/configmaps';
    const seen: string[] = [];
    const watch = await new Watch(config).watch(
      path,
      {},
      (type, object) => seen.push(`${type} ${object.metadata.name}`),
      () => undefined,
    );
    const informer = makeInformer(config, path, () => core.listNamespacedConfigMap({ namespace: 'default' }));
    await informer.start();
    await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { name: 'a' } } });
    await core.deleteNamespacedConfigMap({ namespace: 'default', name: 'a' });
    await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { name: 'b' } } });
    await until('the events', () => seen.length >= 3);
    expect(seen).toEqual(['ADDED a', 'DELETED a', 'ADDED b']);
    await until(
      'the informer',
      () =>
        informer
          .list()
          .map((one) => one.metadata?.name)
          .join() === 'b',
    );
    watch.abort();
    await informer.stop();
  });

  test('runs a program, reads a log, forwards a port', async () => {
    const [out, log, back] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const text = (stream: PassThrough) => {
      let said = '';
      stream.on('data', (chunk: Buffer) => (said += chunk));
      return () => said;
    };
    const [outText, logText, backText] = [text(out), text(log), text(back)];
    const status = await new Promise<{ status?: string }>((resolve) => {
      void new Exec(config).exec('default', 'one', 'main', ['echo', 'hello'], out, null, null, false, resolve);
    });
    expect([status.status, outText()]).toEqual(['Success', 'hello\n']);
    await new Log(config).log('default', 'one', 'main', log);
    await until('the log', () => logText() === 'one\ntwo\n');
    const input = new PassThrough();
    const socket = await new PortForward(config).portForward('default', 'one', [8080], back, null, input);
    input.write('there and back');
    await until('the echo', () => backText() === 'there and back');
    (socket as { close(): void }).close();
  });
});
