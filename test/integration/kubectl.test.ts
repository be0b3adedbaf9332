/** A real kubectl against the local mesh's API server, with a pod runtime that only pretends. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { ApiServer } from '../../local/api/server.ts';
import { pipedSession } from '../../local/objects.ts';
import { findKubectl } from '../support/kubectl.ts';

const { program: kubectl, missing } = await findKubectl();
const manifest = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1', ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec: {containers: [{name: main, image: 'x:1'}]}
`;

describe.skipIf(missing)(`with ${kubectl || missing}`, () => {
  let folder: string;
  let server: ApiServer;

  function start(...args: string[]) {
    return spawn(kubectl, ['--kubeconfig', join(folder, 'config'), '--cache-dir', join(folder, 'cache'), ...args], {
      env: { PATH: process.env.PATH ?? '', HOME: folder },
    });
  }

  async function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
    const child = start(...args);
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk));
    child.stdin.end();
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, out, err };
  }

  async function ok(...args: string[]): Promise<string> {
    const { code, out, err } = await run(...args);
    expect(`${code} ${err}`.replace(/ (Warning|WARNING):.*/s, ' ')).toMatch(/^0/);
    return out;
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mesh-kubectl-'));
    server = new ApiServer({
      stateFile: join(folder, 'state.db'),
      servicePrefix: '10.96',
      fixedServices: { 'default/kubernetes': '10.96.0.1' },
      names: { dns: ['localhost'], ips: ['127.0.0.1'] },
      log: (message) => process.stderr.write(`${message}\n`),
    });
    server.setRuntime({
      logs: (_namespace, pod, { container, follow }) => {
        const stream = new PassThrough();
        stream.write(`log of ${pod}/${container}\n`);
        if (follow) setTimeout(() => stream.end('later\n'), 200);
        else stream.end();
        return stream;
      },
      exec: async (_namespace, _pod, _container, command) => pipedSession(spawn(command[0]!, command.slice(1))),
      connect: async () => new PassThrough(),
      stats: () => ({ pods: [] }),
    });
    await server.bootstrap();
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'local',
      contexts: [{ name: 'local', context: { cluster: 'local', user: 'admin' } }],
      clusters: [
        {
          name: 'local',
          cluster: {
            server: `https://127.0.0.1:${port}`,
            'certificate-authority-data': Buffer.from(server.root).toString('base64'),
          },
        },
      ],
      users: [{ name: 'admin', user: { token: server.adminToken } }],
    };
    writeFileSync(join(folder, 'config'), JSON.stringify(config));
    writeFileSync(join(folder, 'shop.yaml'), manifest);
    await ok('apply', '-f', join(folder, 'shop.yaml'));
  });
  afterAll(() => {
    server?.close();
    if (folder) rmSync(folder, { recursive: true });
  });

  test('apply, client-side and server-side, twice changes nothing', async () => {
    const file = join(folder, 'shop.yaml');
    expect(await ok('apply', '-f', file)).toContain('deployment.apps/web unchanged');
    const version = () => ok('get', 'deploy', 'web', '-o', 'jsonpath={.metadata.generation}');
    const before = await version();
    expect(await ok('apply', '--server-side', '--force-conflicts', '-f', file)).toContain('web serverside-applied');
    await ok('apply', '--server-side', '-f', file);
    expect(await version()).toBe(before);
  });

  test('a server-side apply of what another manages is a conflict that names it', async () => {
    writeFileSync(join(folder, 'map.yaml'), 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: "1"}\n');
    await ok('apply', '--server-side', '--field-manager=first', '-f', join(folder, 'map.yaml'));
    writeFileSync(join(folder, 'map.yaml'), 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: "2"}\n');
    const refused = await run('apply', '--server-side', '--field-manager=second', '-f', join(folder, 'map.yaml'));
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain('conflict with "first": .data.a');
    expect(await ok('get', 'cm', 'm', '-o', 'jsonpath={.data.a}')).toBe('1');
  });

  test('get, describe and selectors', async () => {
    expect(await ok('get', 'deploy', '-o', 'wide')).toMatch(/^NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE/);
    expect(await ok('describe', 'pod', 'one')).toContain('/var/run/secrets/kubernetes.io/serviceaccount');
    expect(await ok('get', 'pods', '-l', 'app in (one),!nope', '-o', 'name')).toBe('pod/one\n');
    expect((await run('get', 'pod', 'none')).err).toContain('pods "none" not found');
  });

  test('get -w shows changes as they come', async () => {
    const child = start('get', 'configmaps', '-w', '-o', 'name');
    let out = '';
    const seen = (text: string) =>
      new Promise<void>((resolve) => {
        const look = () => out.includes(text) && resolve();
        child.stdout.on('data', look);
        look();
      });
    child.stdout.on('data', (chunk: Buffer) => (out += chunk));
    await ok('create', 'configmap', 'first', '--from-literal=a=b');
    await seen('configmap/first');
    await ok('create', 'configmap', 'second', '--from-literal=a=b');
    await seen('configmap/second');
    child.kill();
  });

  test('scale, label, annotate, patch and set image', async () => {
    await ok('scale', 'deploy', 'web', '--replicas=3');
    await ok('label', 'deploy', 'web', 'tier=front');
    await ok('annotate', 'deploy', 'web', 'note=x');
    await ok('set', 'image', 'deploy/web', 'web=nginx:2');
    await ok('patch', 'deploy', 'web', '--type=json', '-p', '[{"op":"replace","path":"/spec/replicas","value":2}]');
    await ok('patch', 'deploy', 'web', '--type=merge', '-p', '{"spec":{"paused":true}}');
    const shown =
      'jsonpath={.spec.replicas} {.metadata.labels.tier} {.metadata.annotations.note} {.spec.paused} {.spec.template.spec.containers[*].image} {.spec.template.spec.containers[*].ports[*].containerPort}';
    expect(await ok('get', 'deploy', 'web', '-o', shown)).toBe('2 front x true nginx:2 80');
    const selector = '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}';
    expect((await run('patch', 'deploy', 'web', '--type=merge', '-p', selector)).code).not.toBe(0);
    await ok('patch', 'deploy', 'web', '--type=merge', '-p', '{"spec":{"paused":null}}');
  });

  test('rollout status ends when the roll-out does', async () => {
    const waiting = ok('rollout', 'status', 'deploy/web', '--timeout=20s');
    await server.objects.updateStatus(resources.deployments, 'web', 'default', (_, { metadata, spec }) => ({
      observedGeneration: metadata.generation,
      replicas: spec.replicas,
      updatedReplicas: spec.replicas,
      readyReplicas: spec.replicas,
      availableReplicas: spec.replicas,
    }));
    expect(await waiting).toContain('successfully rolled out');
  });

  test('roles decide what a service account may do', async () => {
    expect((await ok('create', 'token', 'web')).split('.')).toHaveLength(3);
    const ask = ['auth', 'can-i', 'list', 'pods', '--as=system:serviceaccount:default:web'];
    expect((await run(...ask)).out).toMatch(/^no/);
    expect((await run('get', 'pods', '--as=system:serviceaccount:default:web')).err).toContain('Forbidden');
    await ok('create', 'role', 'reader', '--verb=list', '--resource=pods');
    await ok('create', 'rolebinding', 'reader', '--role=reader', '--serviceaccount=default:web');
    expect((await run(...ask)).out).toBe('yes\n');
    expect(await ok('auth', 'whoami')).toContain('admin');
  });

  test('logs and exec', async () => {
    expect(await ok('logs', 'one')).toBe('log of one/main\n');
    expect(await ok('logs', '-f', 'one')).toBe('log of one/main\nlater\n');
    expect(await ok('exec', 'one', '--', 'echo', 'hello')).toBe('hello\n');
    expect((await run('exec', 'one', '--', 'sh', '-c', 'exit 7')).code).toBe(7);
  });

  test('diff, wait, replace, explain and the lists of what there is', async () => {
    const file = join(folder, 'wait.yaml');
    writeFileSync(file, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata: {a: "1"}\n');
    await ok('create', '-f', file);
    writeFileSync(file, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata: {a: "2"}\n');
    const diff = await run('diff', '-f', file);
    expect([diff.code, diff.out]).toEqual([1, expect.stringContaining('+  a: "2"')]);
    expect(await ok('replace', '-f', file)).toContain('replaced');
    expect((await run('create', '-f', file)).err).toContain('configmaps "w" already exists');
    await ok('wait', '--for=jsonpath={.data.a}=2', 'cm/w', '--timeout=10s');
    const gone = ok('wait', '--for=delete', 'cm/w', '--timeout=10s');
    await ok('delete', 'cm', 'w');
    await gone;
    expect(await ok('api-resources', '-o', 'name')).toContain('deployments.apps');
    expect(await ok('api-versions')).toContain('batch/v1');
    expect(await ok('explain', 'pod')).toContain('KIND:       Pod');
    expect((await run('top', 'pods')).err).toContain('Metrics API not available');
    expect(await ok('get', 'cm', '--chunk-size=1', '-A', '-o', 'name')).toContain('configmap/');
  });

  test('a custom resource is validated, printed, explained and scaled', async () => {
    const file = join(folder, 'crd.json');
    const properties = { count: { type: 'integer', maximum: 5, description: 'How many there are.' } };
    const version = {
      name: 'v1',
      served: true,
      storage: true,
      subresources: { scale: { specReplicasPath: '.spec.count', statusReplicasPath: '.status.count' } },
      additionalPrinterColumns: [{ name: 'Count', type: 'integer', jsonPath: '.spec.count' }],
      schema: { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties } } } },
    };
    const names = { plural: 'birds', kind: 'Bird', shortNames: ['bd'] };
    const spec = { group: 'example.org', scope: 'Namespaced', names, versions: [version] };
    const definition = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' };
    writeFileSync(file, JSON.stringify({ ...definition, metadata: { name: 'birds.example.org' }, spec }));
    await ok('apply', '-f', file);
    await ok('wait', '--for=condition=Established', 'crd/birds.example.org', '--timeout=10s');
    const bird = (content: object): void =>
      writeFileSync(
        file,
        JSON.stringify({ apiVersion: 'example.org/v1', kind: 'Bird', metadata: { name: 'a' }, spec: content }),
      );
    bird({ count: 'many' });
    expect((await run('apply', '-f', file)).err).toContain(
      'spec.count: Invalid value: "string": spec.count in body must be of type integer: "string"',
    );
    bird({ count: 1, typo: 1 });
    expect((await run('apply', '-f', file)).err).toContain('unknown field "spec.typo"');
    bird({ count: 1 });
    await ok('apply', '-f', file);
    await ok('scale', 'bird', 'a', '--replicas=3');
    expect(await ok('get', 'bd')).toMatch(/^NAME\s+COUNT\na\s+3\n/);
    expect(await ok('explain', 'bird.spec.count')).toContain('How many there are.');
    await ok('delete', 'crd', 'birds.example.org');
  });

  test('delete', async () => {
    expect(await ok('delete', 'deploy,service', 'web')).toContain('"web" deleted');
    expect((await run('get', 'deploy', 'web')).err).toContain('not found');
  });
});
