import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resources } from '../kube/resources.ts';
import { workloadAnnotation } from '../protocol/names.ts';
import { connectKube } from './connect.ts';
import { docsBase, type ErrorCode, errorTable, isErrorCode } from './errors.ts';
import { controlPod, pod, TestCluster, withInjector } from './test-cluster.ts';
import { expectGolden, type RunOptions, runMesh, transcript } from './test-screen.ts';

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
});
afterEach(() => cluster.close());

/** How a user gets an error: what is prepared, and what is typed. */
interface Case extends RunOptions {
  prepare?: () => unknown;
  args: (file: (name: string, content: string | Buffer) => string) => string[];
  /** With no cluster configured. */
  local?: true;
}

const mapOf = (name: string, more = ''): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n  namespace: default\n${more}`;
const stat = () => ['stat', 'deploy'];
const installed = () => cluster.install();
const meshed = () => cluster.create(pod('default', 'web-1', { 'mesh.dev/proxy': 'enabled' }));
const hostNetwork =
  'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {hostNetwork: true, containers: [{name: a, image: b}]}\n';

const cases: Partial<Record<ErrorCode, Case>> = {
  usage: { args: () => ['check', '--ouput', 'json'] },
  internal: {
    args: stat,
    change: (context) => {
      context.kube = () => Promise.reject(new Error('a defect'));
    },
  },
  interrupted: {
    args: () => ['stat', 'deploy'],
    signal: AbortSignal.abort(),
    change: (context) => {
      context.kube = () => new Promise(() => {});
    },
  },
  declined: { prepare: installed, args: () => ['uninstall'], terminal: true, stdin: 'n\n' },
  'kubeconfig-missing': { args: () => ['stat', 'deploy', '--kubeconfig', '/nowhere/config'] },
  'kubeconfig-invalid': {
    args: (file) => ['stat', 'deploy', '--kubeconfig', file('empty', '{"contexts":[{"name":"a"}]}')],
  },
  'cluster-unreachable': {
    args: (file) => [
      ...stat(),
      '--kubeconfig',
      file('away', readFileSync(cluster.kubeconfig, 'utf8').replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1')),
    ],
  },
  unauthorized: { args: () => ['stat', 'deploy', '--kubeconfig', cluster.strangers] },
  forbidden: { prepare: installed, args: () => ['stat', 'deploy', '--as', 'jane'] },
  'kubernetes-refused': { args: (file) => ['apply', '-f', file('bad', mapOf('Bad_Name'))] },
  'unknown-kind': { args: (file) => ['apply', '-f', file('kind', mapOf('a').replace('ConfigMap', 'Gizmo'))] },
  'not-found': { prepare: () => [installed(), meshed()], args: () => ['logs', 'web-2'] },
  'unreadable-input': { args: () => ['apply', '-f', '/nowhere/shop.yaml'] },
  'broken-yaml': { args: (file) => ['inject', file('broken.yaml', 'a: [1\nb: 2\n')] },
  'not-utf8': { args: (file) => ['inject', file('latin.yaml', Buffer.from('# caf\xe9\n', 'latin1'))] },
  'no-objects': { args: (file) => ['inject', file('empty.yaml', '# nothing came\n')] },
  'not-an-object': { args: (file) => ['apply', '-f', file('none', 'a: 1\n')] },
  'cannot-inject': { args: (file) => ['inject', file('host.yaml', hostNetwork)] },
  'mesh-not-installed': { args: stat },
  'control-not-ready': {
    prepare: () => cluster.create(namespace('mesh-system'), controlPod(false)),
    args: stat,
  },
  'control-unreachable': { prepare: () => [installed(), cluster.control.set('/v1/stat', 'refuse')], args: stat },
  'control-refused': {
    prepare: () => [
      installed(),
      cluster.control.set('/v1/stat', { status: 500, body: { code: 'internal', message: 'out of memory' } }),
    ],
    args: stat,
  },
  'not-meshed': {
    prepare: () => cluster.create(pod('default', 'web-1')),
    args: () => ['diagnostics', 'proxy', 'web-1'],
  },
  'proxy-unreachable': {
    prepare: () => [meshed(), cluster.control.set('/state.json', 'refuse')],
    args: () => ['diagnostics', 'proxy', 'web-1'],
  },
  'proxy-refused': {
    prepare: () => [
      meshed(),
      cluster.control.set('/state.json', { status: 404, body: 'not found: /ready, /live, /metrics, /env.json' }),
    ],
    args: () => ['diagnostics', 'proxy', 'web-1'],
  },
  'control-timeout': { args: () => ['install', '--wait', '0'] },
  'cni-timeout': { args: () => ['install', '--cni', '--wait', '0'] },
  'bad-query': {
    prepare: () => [
      installed(),
      cluster.control.set('/v1/stat', {
        status: 400,
        body: { code: 'bad-query', message: 'kind "deployment" is none of pod' },
      }),
    ],
    args: stat,
  },
  'checks-failed': { args: () => ['check', '-o', 'short'] },
  'cannot-bench': {
    prepare: () => [installed(), deployed({ volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'd' } }] })],
    args: () => ['bench', 'deploy/web', '--port', '80', '--yes'],
  },
  'bench-running': {
    prepare: () => [installed(), deployed({}), deployed({}, 'mesh-bench-web-mesh', '2099-01-01T00:00:00.000Z')],
    args: () => ['bench', 'deploy/web', '--port', '80', '--yes'],
  },
  'bench-timeout': {
    prepare: () => [installed(), deployed({})],
    args: () => ['bench', 'deploy/web', '--port', '80', '--yes', '--wait', '0'],
  },
  'delete-timeout': {
    prepare: () =>
      cluster.create({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'held', namespace: 'default', finalizers: ['a.dev/b'] },
      }),
    args: (file) => ['delete', '--wait', '0', '-f', file('held', mapOf('held'))],
  },
  'uninstall-timeout': { prepare: installed, args: () => ['uninstall', '--yes', '--wait', '0'] },
  'pods-still-meshed': { prepare: () => [installed(), meshed()], args: () => ['uninstall', '--yes'] },
  'namespace-terminating': {
    prepare: async () => {
      await cluster.create(namespace('mesh-system'));
      await cluster.objects.delete(resources.namespaces, 'mesh-system');
    },
    args: () => ['install'],
  },
  'kubernetes-too-old': {
    args: () => ['install'],
    change: (context) => {
      const { kube } = context;
      context.kube = async () => Object.assign(await kube(), { version: async () => ({ gitVersion: 'v1.28.3' }) });
    },
  },
  'injector-unreachable': { prepare: () => cluster.runControllers(), args: () => ['install', '--wait', '1s'] },
  'restart-timeout': {
    prepare: async () => {
      cluster.runControllers();
      await installed();
      cluster.control.set('/v1/stat', { status: 200, body: { rows: [] } });
      const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'a' }] } };
      await cluster.create(
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'web', namespace: 'default' },
          spec: { selector: { matchLabels: { app: 'web' } }, template },
        },
        pod('default', 'web-1', { 'mesh.dev/proxy': 'enabled' }, true, { [workloadAnnotation]: 'deployment/web' }),
      );
    },
    args: () => ['upgrade', '--restart-workloads', '--wait', '1s'],
    change: withInjector,
  },
  'local-mesh-not-running': { args: stat, local: true },
  'image-of-cluster': { args: () => ['image', 'list'] },
  'image-not-found': { prepare: () => images('{"images":[]}'), args: () => ['image', 'rm', 'shop:1.0'], local: true },
  'image-in-use': {
    prepare: () => [
      images(JSON.stringify({ images: [shopImage] })),
      cluster.create(pod('default', 'web-1', {}, true, {}, 'shop:1.0')),
    ],
    args: () => ['image', 'rm', 'shop:1.0'],
    local: true,
    change: (context) => {
      context.kube = () => connectKube({ kubeconfig: cluster.kubeconfig }, context.io);
    },
  },
  'image-store-broken': { prepare: () => images('{'), args: () => ['image', 'list'], local: true },
};

/** A deployment; with `until`, one that a measurement of deploy/web made. */
function deployed(more: object, name = 'web', until?: string): Promise<unknown> {
  const labels = until === undefined ? { app: name } : { 'mesh.dev/bench': 'web' };
  const annotations = until === undefined ? {} : { 'mesh.dev/bench-until': until };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'a' }], ...more } };
  return cluster.create({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default', labels, annotations },
    spec: { selector: { matchLabels: labels }, template },
  });
}

/** A local mesh that does not run, with this list of images. */
function images(index: string): void {
  const folder = join(cluster.home, 'none/state/images');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.json'), index);
}

const shopImage = {
  ...{ id: `sha256:${'a'.repeat(64)}`, names: ['docker.io/library/shop:1.0'], digests: [], layers: [], config: {} },
  loaded: '2026-01-01T00:00:00.000Z',
};

function namespace(name: string) {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

/** These need a machine that lacks something, a broken archive, a state of another time: tests of what finds them, by file. */
const elsewhere: Record<string, ErrorCode[]> = {
  'test/acceptance/cli-errors.test.ts': [
    ...(['no-uidmap', 'no-nft', 'no-tool', 'overlay-missing', 'not-built', 'busy', 'port-in-use'] as const),
    ...(['state-corrupt', 'state-newer', 'state-unwritable', 'folder-not-writable', 'disk-full'] as const),
    ...(['start-failed', 'image-failed', 'image-archive-broken'] as const),
  ],
  'test/acceptance/cli.test.ts': ['start-timeout'],
  'test/acceptance/bench.test.ts': ['bench-failed'],
  'test/cluster/upgrade.test.ts': ['restart-stopped'],
  'local/preflight.test.ts': ['no-user-namespaces', 'no-subids', 'kernel-too-old'],
  'test/integration/local-runtime-rootless.test.ts': ['not-removed'],
  'test/integration/local-images.test.ts': [
    ...(['image-archive-unsafe', 'image-platform-missing', 'image-name-needed'] as const),
    ...(['image-name-invalid', 'image-too-large'] as const),
  ],
};

describe('every error', () => {
  it('has a test', () => {
    expect([...Object.keys(cases), ...Object.values(elsewhere).flat()].sort()).toEqual(Object.keys(errorTable).sort());
    for (const [file, codes] of Object.entries(elsewhere)) {
      const text = readFileSync(join(import.meta.dirname, '..', file), 'utf8');
      for (const code of codes) expect(text).toMatch(new RegExp(`\\b${code}['":]`));
    }
  });

  it.each(Object.keys(cases).filter(isErrorCode))('%s is written for people and for programs', async (code) => {
    const { prepare, args, local, ...options } = cases[code]!;
    await Promise.all([prepare?.()].flat());
    const typed = args((name, content) => {
      writeFileSync(join(cluster.home, name), content);
      return join(cluster.home, name);
    });
    const home = { HOME: cluster.home, MESH_HOME: join(cluster.home, 'none'), LANG: 'C.UTF-8' };
    const env = local ? home : { ...home, KUBECONFIG: cluster.kubeconfig };
    const seen = await runMesh(typed, { ...options, env });
    expect(seen.code).toBe(errorTable[code].exit);
    expectGolden(
      `errors/${code}`,
      transcript(typed, seen, [
        [cluster.home, 'HOME'],
        [/(mesh-local|test)-\w+/g, '$1'],
      ]),
    );
    const json = await runMesh([...typed.filter((arg) => arg !== 'short' && arg !== '-o'), '--output=json'], {
      ...options,
      env,
    });
    const last = json.err.trimEnd().split('\n').at(-1)!;
    if (!last.startsWith('{')) return;
    expect(JSON.parse(last).error).toMatchObject({ docs: `${docsBase}/errors#${json.code === 2 ? 'usage' : code}` });
  });

  it('never shows a stack trace, but with --debug', async () => {
    const env = { HOME: cluster.home, KUBECONFIG: cluster.kubeconfig };
    expect((await runMesh(stat(), { env })).err).not.toMatch(/\n\s+at /);
    expect((await runMesh([...stat(), '--debug'], { env })).err).toMatch(/\n\s+at /);
    expect(existsSync(join(cluster.home, 'none'))).toBe(false);
  });
});
