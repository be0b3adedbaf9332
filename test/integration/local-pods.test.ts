/** What pods ask of the machine that runs them, one by one: volumes, probes, hooks, order, ends. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { unable } from '../support/ground.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { nodeCommand, type PodObject, until } from '../support/mesh.ts';

describe.skipIf(unable)('pods', () => {
  let mesh: LocalMesh;

  beforeAll(async () => {
    mesh = await LocalMesh.install();
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const apply = (object: object): Promise<void> => mesh.apply(JSON.stringify(object), false);
  const map = (kind: string, name: string, data: object): object => ({
    apiVersion: 'v1',
    kind,
    metadata: { name },
    ...data,
  });
  const container = (name: string, script: string, more: object = {}): object => ({
    name,
    image: 'none',
    command: ['sh', '-c', script],
    ...more,
  });
  const pod = (name: string, spec: object): Promise<void> =>
    apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels: { app: name } },
      spec: { restartPolicy: 'Never', terminationGracePeriodSeconds: 1, ...spec },
    });
  const log = (pod: KubeObject): Promise<string> => mesh.log(pod as PodObject, 'main');
  const get = (name: string): Promise<KubeObject> => mesh.client.get(resources.pods, name, 'default');
  const remove = async (name: string): Promise<void> => {
    await mesh.client.delete(resources.pods, name, 'default');
    await until(`${name} is gone`, async () => (await mesh.client.find(resources.pods, name, 'default')) === undefined);
  };
  const ended = (name: string): Promise<KubeObject> =>
    until(`${name} has ended`, async () => {
      const found = await get(name);
      return ['Succeeded', 'Failed'].includes(found.status.phase) && found;
    });
  const output = async (name: string, spec: object): Promise<string> => {
    await pod(name, spec);
    return log(await ended(name));
  };
  const event = (name: string, about: string): Promise<KubeObject> =>
    until(`an event of ${name} about ${about}`, async () =>
      (await mesh.client.list(resources.events, { namespace: 'default' })).find(
        (one) => one.involvedObject.name === name && one.message.includes(about),
      ),
    );

  it('lets a pod dial again from a port that waits', async () => {
    const spec = { containers: [container('main', 'cat /proc/sys/net/ipv4/tcp_tw_reuse')] };
    expect((await output('dialling', spec)).trim()).toBe('1');
  });

  it('mounts parts of volumes, made where they are not there, the inner mount after the outer', async () => {
    await apply(map('ConfigMap', 'files', { data: { one: '1', two: '2' } }));
    const said = await output('parts', {
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'files', configMap: { name: 'files', items: [{ key: 'two', path: 'deep/two' }] } },
      ],
      containers: [
        container('main', 'ls /data; cat /data/inner/file; ls -d /made; cat /data/inner/sub/two', {
          env: [{ name: 'PART', value: 'expanded' }],
          volumeMounts: [
            { name: 'files', mountPath: '/data/inner/sub', subPath: 'deep' },
            { name: 'files', mountPath: '/data/inner/file', subPath: 'deep/two' },
            { name: 'data', mountPath: '/data' },
            { name: 'data', mountPath: '/made', subPathExpr: 'a/$(PART)' },
          ],
        }),
      ],
    });
    expect(said.split('\n')).toEqual(['a', 'inner', '2/made', '2']);
  });

  it('lets no part of a volume lead out of it', async () => {
    const mount = (subPath: string): object => ({
      containers: [container('main', 'cat /x', { volumeMounts: [{ name: 'data', mountPath: '/x', subPath }] })],
      volumes: [{ name: 'data', emptyDir: {} }],
    });
    await pod('dots', mount('../../x'));
    await event('dots', 'must stay inside the volume');
    await pod('link', {
      ...mount('way/shadow'),
      initContainers: [container('first', 'ln -s /etc /x/way', { volumeMounts: [{ name: 'data', mountPath: '/x' }] })],
    });
    await event('link', 'leads out of the volume through a link');
  });

  it('gives volumes to the pod’s group', async () => {
    await apply(map('Secret', 'key', { stringData: { key: 'word' } }));
    const said = await output('group', {
      securityContext: { runAsUser: 4000, runAsGroup: 4000, fsGroup: 4242, supplementalGroups: [4300] },
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'key', secret: { secretName: 'key', defaultMode: 0o400 } },
      ],
      containers: [
        container(
          'main',
          'id -G; cat /key/key; echo; touch /data/file; stat -c "%g %A" /data; stat -c %g /data/file; touch /key/no 2>&1 | grep -o "Read-only.*"',
          {
            volumeMounts: [
              { name: 'data', mountPath: '/data' },
              { name: 'key', mountPath: '/key', readOnly: true },
            ],
          },
        ),
      ],
    });
    expect(said).toBe('4000 4242 4300\nword\n4242 drwxrwsrwx\n4242\nRead-only file system\n');
  });

  it('keeps a volume in memory within its limit, and takes it away with the pod', async () => {
    await pod('memory', {
      volumes: [{ name: 'data', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }],
      containers: [
        container('main', 'head -c 3000000 /dev/zero > /data/file || echo full; stat -f -c %T /data; sleep 1000', {
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        }),
      ],
    });
    await until('the limit', async () => (await log(await get('memory')).catch(() => '')).includes('full\ntmpfs'));
    await remove('memory');
  });

  it('says what is wrong with a folder of the machine', async () => {
    const file = join(mesh.home, 'file');
    writeFileSync(file, 'content');
    const at = (path: string, type?: string): object => ({
      containers: [container('main', 'cat /x', { volumeMounts: [{ name: 'x', mountPath: '/x' }] })],
      volumes: [{ name: 'x', hostPath: { path, ...(type ? { type } : {}) } }],
    });
    await pod('missing', at(join(mesh.home, 'missing')));
    await event('missing', 'is not on this machine');
    await pod('kind', at(file, 'Directory'));
    await event('kind', 'is no Directory');
    expect(await output('right', at(file, 'File'))).toBe('content');
  });

  it('shows labels that change, limits and addresses to the pod', async () => {
    await pod('downward', {
      volumes: [
        { name: 'info', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
      ],
      containers: [
        container('main', 'echo $CPU $MEMORY $IP $NAME; while :; do cat /info/labels; sleep 0.2; done', {
          resources: { limits: { cpu: '250m', memory: '64Mi' } },
          env: [
            { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } },
            { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'limits.memory' } } },
            { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
          ],
          volumeMounts: [{ name: 'info', mountPath: '/info' }],
        }),
      ],
    });
    const said = async (): Promise<string> => log(await get('downward')).catch(() => '');
    const text = await until('the first lines', async () => (await said()).includes('app="downward"') && said());
    expect(text).toMatch(/^250 67108864 10\.244\.\d+\.\d+ downward\n/);
    const labelled = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'downward', namespace: 'default', labels: { color: 'red' } },
    };
    await mesh.client.apply(labelled, { fieldManager: 'test', force: true });
    await until('the new label', async () => (await said()).includes('color="red"'));
    await remove('downward');
  });

  it('asks a gRPC service whether it serves, and believes a no', async () => {
    const health = `
import { createServer } from 'node:http2';
let asked = 0;
createServer().on('stream', (stream, headers) => {
  const serving = headers[':path'] === '/grpc.health.v1.Health/Check' && ++asked > 3;
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, serving ? 1 : 2]));
}).listen(9000);`;
    const readinessProbe = { grpc: { port: 9000, service: 'shop' }, periodSeconds: 1 };
    await pod('grpc', { containers: [{ name: 'main', image: 'none', command: nodeCommand(health), readinessProbe }] });
    await mesh.ready('grpc');
    await pod('grpc-not', {
      containers: [container('main', 'sleep 1000', { readinessProbe: { grpc: { port: 9000 }, periodSeconds: 1 } })],
    });
    await event('grpc-not', 'Readiness probe failed');
    await remove('grpc');
    await remove('grpc-not');
  });

  it('keeps what a program says about its end: its message, or the end of its log', async () => {
    await pod('message', {
      containers: [
        container('main', 'echo because > /dev/termination-log; exit 3'),
        container('logs', 'echo first; echo last words; exit 4', { terminationMessagePolicy: 'FallbackToLogsOnError' }),
        container('well', 'echo fine', { terminationMessagePolicy: 'FallbackToLogsOnError' }),
      ],
    });
    const { status } = await ended('message');
    const messages = status.containerStatuses.map((one: KubeObject) => one.state.terminated.message);
    expect(messages).toEqual(['because\n', 'first\nlast words\n', undefined]);
  });

  it('starts init containers and sidecars in their order, and ends sidecars last, in reverse', async () => {
    const folder = join(mesh.home, 'order');
    mkdirSync(folder);
    const volumeMounts = [{ name: 'order', mountPath: '/order' }];
    const say = (what: string): string => `echo ${what} >> /order/log`;
    const sidecar = (name: string): object =>
      container(
        name,
        `${say(`${name} up`)}; touch /order/${name}; trap '${say(`${name} down`)}; exit 0' TERM; while :; do sleep 0.1; done`,
        {
          restartPolicy: 'Always',
          volumeMounts,
          lifecycle: { postStart: { exec: { command: ['sh', '-c', `sleep 0.3; ${say(`${name} hooked`)}`] } } },
          startupProbe: { exec: { command: ['test', '-f', `/order/${name}`] }, periodSeconds: 1 },
        },
      );
    const job = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'order' },
      spec: {
        template: {
          metadata: { labels: { app: 'order' } },
          spec: {
            restartPolicy: 'Never',
            terminationGracePeriodSeconds: 10,
            volumes: [{ name: 'order', hostPath: { path: folder } }],
            initContainers: [
              container('init-1', say('init-1'), { volumeMounts }),
              sidecar('side-1'),
              container('init-2', say('init-2'), { volumeMounts }),
              sidecar('side-2'),
            ],
            containers: [container('main', `${say('main')}; sleep 0.5`, { volumeMounts })],
          },
        },
      },
    };
    await apply(job);
    await until(
      'the job is complete',
      async () => (await mesh.client.get<KubeObject>(resources.jobs, 'order', 'default')).status?.succeeded === 1,
    );
    const lines = readFileSync(join(folder, 'log'), 'utf8').trim().split('\n');
    expect(lines).toEqual([
      'init-1',
      'side-1 up',
      'side-1 hooked',
      'init-2',
      'side-2 up',
      'side-2 hooked',
      'main',
      'side-2 down',
      'side-1 down',
    ]);
  });

  it('runs hooks, and ends a program whose hook takes longer than its grace', async () => {
    const folder = join(mesh.home, 'hooks');
    mkdirSync(folder);
    const volumeMounts = [{ name: 'hooks', mountPath: '/hooks' }];
    const hook = (script: string): object => ({ exec: { command: ['sh', '-c', script] } });
    const volumes = [{ name: 'hooks', hostPath: { path: folder } }];
    await pod('hooks', {
      volumes,
      containers: [
        container('main', "trap 'echo term >> /hooks/log; exit 0' TERM; while :; do sleep 0.1; done", {
          volumeMounts,
          lifecycle: {
            postStart: hook('echo started >> /hooks/log'),
            preStop: hook('echo stopping >> /hooks/log; sleep 0.3'),
          },
        }),
      ],
    });
    await until('the first hook', () => existsSync(join(folder, 'log')));
    await remove('hooks');
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('started\nstopping\nterm\n');
    await pod('slow', {
      terminationGracePeriodSeconds: 1,
      containers: [container('main', 'sleep 1000', { lifecycle: { preStop: { sleep: { seconds: 1000 } } } })],
    });
    await until('it runs', async () => (await get('slow')).status.phase === 'Running');
    await remove('slow');
  });

  it('restarts a container whose liveness fails within the pod’s own grace', async () => {
    const livenessProbe = { exec: { command: ['false'] }, periodSeconds: 1, failureThreshold: 1 };
    await pod('lively', {
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: 'main',
          image: 'none',
          command: ['bash', '-c', 'trap "" TERM; while :; do sleep 0.1; done'],
          livenessProbe,
        },
      ],
    });
    const status = await until(
      'a restart',
      async () => {
        const [found] = (await get('lively')).status.containerStatuses ?? [];
        return found?.restartCount > 0 && found;
      },
      10,
    );
    expect(status.lastState.terminated.exitCode).toBe(137);
    await remove('lively');
  });
});
