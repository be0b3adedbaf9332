import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../kube/resources.ts';
import type { ControlStatus } from '../protocol/api.ts';
import { proxyVersionAnnotation, trustBundleConfigMap } from '../protocol/names.ts';
import { docsBase } from './errors.ts';
import { fakeTerminal } from './fake-terminal.ts';
import { topics } from './help-topics.ts';
import { buildProgram } from './program.ts';
import { TestCluster, withInjector } from './test-cluster.ts';
import { after, healthy, now, rows, screenOf } from './test-healthy.ts';
import { type RunOptions, runMesh } from './test-screen.ts';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await healthy();
});
afterAll(() => cluster.close());

const screen = (
  name: string,
  args: string[],
  options: RunOptions = {},
  on: TestCluster = cluster,
  more: [RegExp, string][] = [],
) => screenOf(on, name, args, options, more);

const { program } = buildProgram(fakeTerminal().io, new AbortController().signal);
const commands = program.commands
  .filter((one) => !one.name().startsWith('__'))
  .flatMap((one) => [one.name(), ...one.commands.map((inner) => `${one.name()} ${inner.name()}`)]);

describe('help', () => {
  it.each(commands)('of %s', async (name) => {
    const words = name.split(' ');
    const { out } = await screen(`help/${words.join('-')}`, [...words, '--help']);
    expect(out).toContain(`${docsBase}/cli#${words[0]}`);
    for (const form of [
      [...words, '-h'],
      ['help', ...words],
      ['-h', ...words],
    ])
      expect((await runMesh(form)).out).toBe(out);
    const examples = out.split('Examples:\n')[1]!.split('\n\n')[0]!.split('\n');
    expect(examples.length).toBeGreaterThanOrEqual(2);
  });

  it.each(['mesh', ...Object.keys(topics)])('of topic %s', async (topic) => {
    await screen(`help/topic-${topic}`, topic === 'mesh' ? ['--help'] : ['help', topic]);
  });

  it('is short where nothing was asked', async () => {
    const { out } = await screen('help/bare', []);
    expect(out.trimEnd().split('\n').length).toBeLessThanOrEqual(25);
  });

  it.each(commands)('of %s has examples that parse', async (name) => {
    const { out } = await runMesh([...name.split(' '), '--help']);
    const lines = out.split('Examples:\n')[1]!.split('\n\n')[0]!.split('\n');
    for (const line of lines.flatMap((one) => one.split('|')).map((one) => one.trim())) {
      if (!line.startsWith('mesh ')) continue;
      // Parsed to the end, and stopped where it would begin.
      const args = line
        .replace(/ [>].*$/, '')
        .split(' ')
        .slice(1);
      const change: RunOptions['change'] = (context) => {
        context.kube = () => Promise.reject(new Error('parsed'));
      };
      // A cluster is configured: without one, `mesh install` would start a local mesh.
      const env = { HOME: cluster.home, MESH_HOME: join(cluster.home, 'none'), KUBECONFIG: cluster.kubeconfig };
      const { code } = await runMesh(args, { env, change });
      expect(code, line).not.toBe(2);
      expect(existsSync(join(cluster.home, 'none'))).toBe(false);
    }
  });
});

describe('check', () => {
  it.each<[string, string[], RunOptions]>([
    ['pipe', ['check', '--proxy'], {}],
    ['terminal', ['check'], { terminal: true }],
    ['ascii', ['check'], { env: { LANG: 'C' } }],
    ['short', ['check', '-o', 'short'], {}],
    ['json', ['check', '-o', 'json'], {}],
    ['yaml', ['check', '-o', 'yaml'], {}],
    ['pre', ['check', '--pre'], {}],
    ['namespace', ['check', '--proxy', '-n', 'shop', '-o', 'short'], {}],
  ])('%s', async (name, args, options) => {
    expect((await screen(`check/${name}`, args, options)).code).toBe(0);
  });

  it('says what is wrong with each part', async () => {
    const ill = await healthy();
    try {
      await makeIll(ill);
      await screen('check/ill', ['check', '--proxy', '--wait', '0'], {}, ill);
      await screen('check/ill-terminal', ['check', '--proxy', '--wait', '0', '-o', 'short'], { terminal: true }, ill);
      const { out } = await screen('check/ill-json', ['check', '--proxy', '--wait', '0', '-o', 'json'], {}, ill);
      expect(JSON.parse(out).success).toBe(false);
    } finally {
      await ill.close();
    }
  });

  it('names the cause of a control plane that does not start', async () => {
    const broken = await healthy();
    try {
      await broken.rolledOut(0);
      const waiting = { reason: 'CrashLoopBackOff', message: 'back-off' };
      const terminated = { exitCode: 64, reason: 'Error' };
      broken.logs.set('mesh-control-1/main', 'starting\nport 8081 is in use\n');
      await broken.objects.updateStatus(resources.pods, 'mesh-control-1', 'mesh-system', () => ({
        phase: 'Running',
        containerStatuses: [
          { name: 'main', ready: false, restartCount: 3, state: { waiting }, lastState: { terminated } },
        ],
      }));
      await screen('check/crash', ['check', '--wait', '0'], {}, broken);
      await broken.objects.updateStatus(resources.pods, 'mesh-control-1', 'mesh-system', () => ({
        phase: 'Pending',
        conditions: [
          { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes: no memory' },
        ],
      }));
      await screen('check/unschedulable', ['check', '--wait', '0', '-o', 'short'], {}, broken);
      const pull = { reason: 'ImagePullBackOff', message: 'Back-off pulling image' };
      await broken.objects.updateStatus(resources.pods, 'mesh-control-1', 'mesh-system', () => ({
        phase: 'Pending',
        containerStatuses: [{ name: 'main', image: 'mesh.dev/mesh:9', ready: false, state: { waiting: pull } }],
      }));
      await screen('check/image', ['check', '--wait', '0', '-o', 'short'], {}, broken);
      const deployment = broken.objects.get(resources.deployments, 'mesh-control', 'mesh-system')!;
      await broken.objects.update(resources.deployments, { ...deployment, spec: { ...deployment.spec, replicas: 0 } });
      await broken.objects.delete(resources.pods, 'mesh-control-1', 'mesh-system');
      await screen('check/scaled-to-0', ['check', '--wait', '0', '-o', 'short'], {}, broken);
      await screen('stat/scaled-to-0', ['stat', 'deploy'], {}, broken);
    } finally {
      await broken.close();
    }
  });
});

async function makeIll(ill: TestCluster): Promise<void> {
  const { body } = ill.control.get('/v1/status') as { body: ControlStatus };
  ill.control.set('/v1/status', {
    status: 200,
    body: {
      ...body,
      version: '9.1.0',
      troubles: [
        'endpointslices cannot be followed: endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:mesh-system:mesh-control" cannot watch resource "endpointslices" in API group "discovery.k8s.io" at the cluster scope',
      ],
      time: after(1 / 24),
      root: body.root.map((one) => ({ ...one, not_after: after(30) })),
      issuer: { ...body.issuer, not_after: after(-1) },
      webhook: { not_after: after(-2) },
      unmeshed: [
        { namespace: 'shop', pod: 'batch-1', reason: 'namespace shop asks for a proxy, and the pod has none' },
      ],
    },
  });
  ill.control.set('/v1/proxies', { status: 200, body: { proxies: [] } });
  await ill.objects.delete(resources.serviceAccounts, 'mesh-control', 'mesh-system');
  await ill.objects.delete(resources.configMaps, trustBundleConfigMap, 'shop');
  await ill.objects.updateStatus(resources.pods, 'web-2', 'shop', (status) => ({
    ...status,
    conditions: [{ type: 'Ready', status: 'False' }],
    containerStatuses: [{ name: 'main', ready: false, state: { running: {} } }],
  }));
  const shop = ill.objects.get(resources.namespaces, 'shop')!;
  const annotations = { 'mesh.dev/inject': 'yes', 'config.mesh.dev/speed': 'high' };
  await ill.objects.update(resources.namespaces, { ...shop, metadata: { ...shop.metadata, annotations } });
  const web = ill.objects.get(resources.deployments, 'web', 'shop')!;
  const misplaced = { ...web.metadata, annotations: { 'mesh.dev/inject': 'enabled' } };
  await ill.objects.update(resources.deployments, { ...web, metadata: misplaced });
  const one = ill.objects.get(resources.pods, 'web-1', 'shop')!;
  const old = { ...one.metadata, annotations: { [proxyVersionAnnotation]: '0.0.1' } };
  await ill.objects.update(resources.pods, { ...one, metadata: old });
}

describe('stat', () => {
  it.each<[string, string[], RunOptions]>([
    ['pipe', ['stat', 'deploy', '-n', 'shop'], {}],
    ['terminal', ['stat', 'deploy', '-n', 'shop'], { terminal: true }],
    ['wide', ['stat', 'deploy', '-n', 'shop', '-o', 'wide'], {}],
    ['all-namespaces', ['stat', 'deploy', '-A'], {}],
    ['all', ['stat', 'all', '-n', 'shop'], {}],
    ['json', ['stat', 'deploy', '-n', 'shop', '-o', 'json'], {}],
    ['yaml', ['stat', 'deploy', '-n', 'shop', '-o', 'yaml'], {}],
    ['name', ['stat', 'deploy', '-n', 'shop', '-o', 'name'], {}],
    ['selector', ['stat', 'deploy', '-n', 'shop', '-l', 'app=none'], {}],
    ['no-namespace', ['stat', 'deploy', '-n', 'shp'], {}],
    ['no-resource', ['stat', 'deploy/wep', '-n', 'shop'], {}],
  ])('%s', async (name, args, options) => {
    if (name === 'no-namespace' || name === 'no-resource') {
      const empty = { time: now.toISOString(), window_seconds: 60, rows: [] };
      cluster.control.set('/v1/stat', { status: 200, body: empty });
    }
    const { out } = await screen(`stat/${name}`, args, options);
    cluster.control.set('/v1/stat', { status: 200, body: { time: now.toISOString(), window_seconds: 60, rows } });
    if (name === 'wide' || name === 'json') return;
    for (const line of out.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });
});

describe('version', () => {
  it.each<[string, string[]]>([
    ['pipe', ['version']],
    ['short', ['version', '-o', 'short']],
    ['json', ['version', '-o', 'json']],
    ['client', ['version', '--client']],
  ])('%s', async (name, args) => void (await screen(`version/${name}`, args)));

  it('warns where client and control plane are more than one minor apart', async () => {
    const far = await healthy();
    const { body } = far.control.get('/v1/status') as { body: ControlStatus };
    far.control.set('/v1/status', { status: 200, body: { ...body, version: '0.9.0' } });
    await screen('version/skew', ['version'], {}, far);
    await far.close();
  });

  it('says that there is no control plane', async () => {
    const empty = await TestCluster.start();
    await screen('version/none', ['version'], {}, empty);
    await screen('version/none-json', ['version', '-o', 'json'], {}, empty);
    await empty.close();
  });
});

describe('bug', () => {
  const mine: [RegExp, string][] = [[/\(Node .*\)/g, '(Node VERSION, PLATFORM)']];

  it('reports versions and failed checks, and nothing of whose cluster it is', async () => {
    await screen('bug/well', ['bug'], {}, cluster, mine);
    const ill = await healthy();
    await makeIll(ill);
    const { out } = await screen('bug/ill', ['bug'], {}, ill, mine);
    expect(out).not.toMatch(/shop|127\.0\.0\.1/);
    await ill.close();
  });
});

describe('what changes things', () => {
  it.each<[string, RunOptions]>([
    ['pipe', {}],
    ['terminal', { terminal: true }],
    ['verbose', { env: { LANG: 'C' } }],
    ['quiet', {}],
  ])('install and uninstall, %s', async (form, options) => {
    const fresh = await TestCluster.start();
    try {
      fresh.runControllers();
      const reached = { ...options, change: withInjector };
      const more = form === 'quiet' ? ['-q'] : form === 'verbose' ? ['-v'] : [];
      if (form === 'pipe') await screen('install/dry-run', ['install', '--dry-run'], options, fresh);
      await screen(`install/${form}`, ['install', ...more], reached, fresh);
      await screen(`install/${form}-again`, ['install', ...more], reached, fresh);
      if (form === 'pipe') {
        await screen('uninstall/unasked', ['uninstall'], options, fresh);
        await screen('uninstall/dry-run', ['uninstall', '--dry-run'], options, fresh);
      }
      await screen(`uninstall/${form}`, ['uninstall', '--yes', ...more], options, fresh);
      if (form === 'pipe') await screen('uninstall/again', ['uninstall', '--yes'], options, fresh);
    } finally {
      await fresh.close();
    }
  });

  it('an install with other options takes away what it does not have', async () => {
    const fresh = await TestCluster.start();
    const env = { HOME: fresh.home, KUBECONFIG: fresh.kubeconfig };
    const budget = () => fresh.objects.get(resources.podDisruptionBudgets, 'mesh-control', 'mesh-system');
    try {
      fresh.runControllers();
      expect(await runMesh(['install', '--ha'], { env, change: withInjector })).toMatchObject({ code: 0 });
      expect(budget()).toBeDefined();
      const { out } = await runMesh(['install', '--dry-run'], { env });
      expect(out).toContain('poddisruptionbudget.policy/mesh-control deleted (dry run)\n');
      expect(budget()).toBeDefined();
      expect(await runMesh(['install', '-v'], { env, change: withInjector })).toMatchObject({
        code: 0,
        out: expect.stringContaining('is installed'),
        err: expect.stringContaining('poddisruptionbudget.policy/mesh-control deleted\n'),
      });
      expect(budget()).toBeUndefined();
    } finally {
      await fresh.close();
    }
  });

  it('apply and delete', async () => {
    const file = join(cluster.home, 'maps.yaml');
    const map = (name: string): string =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: default}\ndata: {a: "1"}\n`;
    writeFileSync(file, `${map('one')}---\n${map('two')}`);
    for (const [name, args] of [
      ['apply/dry-run', ['apply', '--dry-run', '-f', file]],
      ['apply/created', ['apply', '-f', file]],
      ['apply/unchanged', ['apply', '-f', file]],
      ['delete/dry-run', ['delete', '--dry-run', '-f', file]],
      ['delete/deleted', ['delete', '-f', file]],
      ['delete/gone', ['delete', '-f', file]],
    ] as const) {
      await screen(name, [...args]);
    }
    await screen('apply/stdin', ['apply', '-f', '-'], { stdin: map('three') });
  });
});

describe('apply', () => {
  it('applies nothing where a kind is unknown, and what a definition brings with it', async () => {
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'early' } };
    const gizmo = { apiVersion: 'toys.dev/v1', kind: 'Gizmo', metadata: { name: 'one' } };
    const names = { plural: 'gizmos', singular: 'gizmo', kind: 'Gizmo' };
    const versions = [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }];
    const definition = {
      ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' },
      metadata: { name: 'gizmos.toys.dev' },
      spec: { group: 'toys.dev', scope: 'Namespaced', names, versions },
    };
    const env = { HOME: cluster.home, KUBECONFIG: cluster.kubeconfig };
    const apply = (...objects: object[]) =>
      runMesh(['apply', '-f', '-'], { env, stdin: objects.map((one) => JSON.stringify(one)).join('\n---\n') });
    expect(await apply(map, gizmo)).toMatchObject({ code: 1, out: '' });
    expect(cluster.objects.get(resources.configMaps, 'early', 'default')).toBeUndefined();
    const { out } = await apply(gizmo, map, definition);
    expect(out).toBe(
      'customresourcedefinition.apiextensions/gizmos.toys.dev created\ngizmo.toys/one created\nconfigmap/early created\n',
    );
  });
});

describe('completion', () => {
  it.each(['bash', 'zsh', 'fish'])('for %s', async (shell) => {
    await screen(`completion/${shell}`, ['completion', shell]);
  });
});
