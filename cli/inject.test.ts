import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeTerminal } from './fake-terminal.ts';
import { buildProgram } from './program.ts';
import { runProgram } from './run.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-inject-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function mesh(args: string[], stdin: string | Buffer = '') {
  const env = { HOME: folder, LANG: 'C.UTF-8' };
  const { io, out, err } = fakeTerminal({ env, stdin });
  const { program, context } = buildProgram(io, new AbortController().signal);
  const code = await runProgram(program, context, args);
  return { code, out: out(), err: err() };
}

function write(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const pod = (name: string, spec = 'containers: [{name: a}]', meta = '') =>
  `kind: Pod\nmetadata: {name: ${name}${meta}}\nspec: {${spec}}\n`;

describe('inject', () => {
  it.each([
    ['Pod', ''],
    ['Deployment', 'template'],
    ['ReplicaSet', 'template'],
    ['StatefulSet', 'template'],
    ['DaemonSet', 'template'],
    ['Job', 'template'],
    ['ReplicationController', 'template'],
    ['CronJob', 'jobTemplate.spec.template'],
  ])(
    'takes a %s from stdin, gives its proxy the name of its workload, and uninject gives it back',
    async (kind, at) => {
      const inner = { spec: { containers: [{ name: 'a' }] } };
      const nested = at
        .split('.')
        .filter(Boolean)
        .reduceRight<object>((value, key) => (key === 'spec' ? { spec: value } : { [key]: value }), inner);
      const spec = at === '' ? inner.spec : nested;
      const source = `${JSON.stringify({ apiVersion: 'v1', kind, metadata: { name: 'web' }, spec }, null, 2)}\n`;
      const { code, out, err } = await mesh(['inject', '-'], source);
      const object = `${kind.toLowerCase()}/web`;
      expect([code, err]).toEqual([0, `${object} injected\n`]);
      expect(out).toContain(`"mesh.dev/workload": "${object}"`);
      const back = await mesh(['uninject', '-'], out);
      expect(back).toEqual({ code: 0, out: source, err: `${object} uninjected\n` });
    },
  );

  it('puts the proxy ahead of the init containers of a pod, and asks for a token of its own', async () => {
    const spec = {
      automountServiceAccountToken: false,
      initContainers: [{ name: 'migrate' }],
      containers: [{ name: 'a', livenessProbe: { httpGet: { path: '/', port: 80 } } }],
      volumes: [{ name: 'data', emptyDir: {} }],
    };
    const { out } = await mesh(['inject', '-'], JSON.stringify({ kind: 'Pod', metadata: { name: 'web' }, spec }));
    const { spec: meshed } = JSON.parse(out);
    const names = (list: { name: string }[]) => list.map(({ name }) => name);
    expect(names(meshed.initContainers)).toEqual(['mesh-init', 'mesh-proxy', 'migrate']);
    expect(names(meshed.volumes)).toEqual(['mesh-token', 'mesh-trust', 'data']);
    expect(meshed.volumes[0].projected.sources[0].serviceAccountToken).toMatchObject({ audience: 'mesh' });
    const rest = { automountServiceAccountToken: false, containers: spec.containers };
    expect(meshed).toMatchObject(rest);
  });

  it('reads a folder with its folders, in the order of their paths, and leaves hidden ones out', async () => {
    for (const name of ['b.yaml', 'a/z.yml', 'a/b/c.json', 'c.txt', '.git/x.yaml', 'not-a-file.yaml/inner.yaml'])
      write(name, pod(name.replaceAll(/[^a-z]/g, '-')));
    const { code, out, err } = await mesh(['inject', folder]);
    expect(code).toBe(0);
    const order = ['a-b-c-json', 'a-z-yml', 'b-yaml', 'not-a-file-yaml-inner-yaml'];
    expect(err).toBe(order.map((name) => `pod/${name} injected\n`).join(''));
    expect(out.match(/^---$/gm)).toHaveLength(3);
  });

  it('joins several files so that each stays a document, whatever it begins and ends with', async () => {
    const files = ['\uFEFF# one', '---\n', '%YAML 1.2\n---\n', '# last\n'].map((head, index) =>
      write(`${index}.yaml`, `${head}\n${pod(`p${index}`).trimEnd()}`),
    );
    const { code, out } = await mesh(['inject', ...files]);
    expect(code).toBe(0);
    const again = await mesh(['inject', '-'], out);
    expect(again.err).toBe([0, 1, 2, 3].map((one) => `pod/p${one} unchanged: already injected\n`).join(''));
    expect(again.out).toBe(out);
  });

  it('counts the annotation of a Namespace in one file for the pods of another', async () => {
    const namespace = 'kind: Namespace\nmetadata: {name: shop, annotations: {mesh.dev/inject: disabled}}\n';
    const files = [write('a.yaml', pod('web', undefined, ', namespace: shop')), write('b.yaml', namespace)];
    const { code, err } = await mesh(['inject', ...files]);
    expect([code, err.split('\n')[0]]).toEqual([0, 'pod/web skipped: mesh.dev/inject is disabled']);
  });

  it('with --cni leaves the rules to the CNI plugin', async () => {
    const { code, out } = await mesh(['inject', '--cni', '-'], pod('web'));
    expect(code).toBe(0);
    expect(out).toContain('"mesh.dev/redirect":"cni"');
    expect(out).toContain('mesh-validate');
    expect(out).not.toMatch(/mesh-init|NET_ADMIN/);
    expect((await mesh(['uninject', '-'], out)).out).toBe(pod('web'));
  });

  it('with --annotation-only leaves the proxy to the cluster', async () => {
    const { code, out } = await mesh(['inject', '--annotation-only', '-'], pod('web'));
    expect(code).toBe(0);
    expect(out).toContain('"mesh.dev/inject":"enabled"');
    expect(out).not.toContain('mesh-proxy');
    expect((await mesh(['uninject', '-'], out)).out).toBe(pod('web'));
  });

  it('says which version injected a pod that it leaves alone', async () => {
    const { out } = await mesh(['inject', '-'], pod('web'));
    const older = out.replace(/("mesh.dev\/proxy-version":)"[^"]+"/, '$1"0.0.1"');
    expect(older).not.toBe(out);
    const { code, err, out: same } = await mesh(['inject', '-'], older);
    expect([code, same]).toEqual([0, older]);
    expect(err).toMatch(/^pod\/web unchanged: already injected by version 0\.0\.1 \(this is .+\)\n$/);
    expect((await mesh(['uninject', '-'], older)).out).toBe(pod('web'));
  });
});

const asking = (key: string, value: string) => pod('web', undefined, `, annotations: {${key}: ${value}}`);

describe('what gets no proxy', () => {
  it.each([
    ['hostNetwork', pod('web', 'hostNetwork: true, containers: [{name: a}]'), 'would redirect the whole node'],
    ['Windows', pod('web', 'os: {name: windows}, containers: [{name: a}]'), 'runs on Windows'],
    ['an Istio sidecar', pod('web', 'containers: [{name: a}, {name: istio-proxy}]'), 'sidecar of Istio'],
    ['a Linkerd sidecar', pod('web', 'containers: [{name: a}], initContainers: [{name: linkerd-init}]'), 'of Linkerd'],
    ['a Kuma sidecar', pod('web', 'containers: [{name: a, image: kuma/kuma-dp:2}]'), 'sidecar of Kuma'],
    ['a Consul sidecar', pod('web', 'containers: [{name: a}, {name: consul-dataplane}]'), 'sidecar of Consul'],
    ['a wish for Linkerd', asking('linkerd.io/inject', 'enabled'), 'linkerd.io/inject asks for a sidecar of Linkerd'],
    ['a wish for Istio', asking('sidecar.istio.io/inject', '"true"'), 'asks for a sidecar of Istio'],
    [
      'a port of the proxy',
      pod('web', 'containers: [{name: a, ports: [{containerPort: 4143}]}]'),
      'listens on port 4143',
    ],
    [
      'the user of the proxy',
      pod('web', 'securityContext: {runAsUser: 2102}, containers: [{name: a}]'),
      'runs as user 2102',
    ],
    ['no containers', pod('web', 'containers: []'), 'the pod has no containers'],
    ['no template', 'kind: Deployment\nmetadata: {name: web}\nspec: {}\n', 'it has no pod template'],
    ['a bad wish', asking('mesh.dev/inject', '"yes"'), 'mesh.dev/inject: "yes" is not enabled or disabled'],
    ['a number for a text', asking('config.mesh.dev/opaque-ports', '3306'), '3306 is not a text; put it in quotes'],
    ['bad ports', asking('config.mesh.dev/opaque-ports', '"99999"'), 'is not ports and ranges from 1 to 65535'],
    ['an unknown setting', asking('config.mesh.dev/opaque-port', '"1"'), 'is no setting; those are skip-inbound-ports'],
    ['an unknown annotation', asking('mesh.dev/injekt', 'enabled'), 'is no annotation of the mesh'],
    [
      'an annotation on the Deployment itself',
      'kind: Deployment\nmetadata: {name: web, annotations: {mesh.dev/inject: disabled}}\nspec: {template: {spec: {containers: [{name: a}]}}}\n',
      'has no effect there; put it on spec.template.metadata.annotations',
    ],
    [
      'a setting that a Service has not',
      'kind: Service\nmetadata: {name: web, annotations: {config.mesh.dev/proxy-log-level: debug}}\n',
      'has no effect on a service; only opaque-ports, timeout-request,',
    ],
  ])('%s: one line, exit 1, nothing on stdout', async (_what, source, reason) => {
    const { code, out, err } = await mesh(['inject', '-'], `${pod('other')}---\n${source}`);
    expect([code, out]).toEqual([1, '']);
    const [first, second, third] = err.split('\n');
    expect(first).toBe('pod/other injected');
    expect(second).toMatch(/^(pod|deployment|service)\/web failed: /);
    expect(second).toContain(reason);
    expect(third).toContain('✗ stdin: ');
    expect(err).toContain('errors#cannot-inject');
  });

  it.each([
    ['disabled by annotation', asking('mesh.dev/inject', 'disabled'), 'pod/web skipped: mesh.dev/inject is disabled'],
    ['no workload', 'kind: Service\nmetadata: {name: web}\n', 'service/web skipped: not a workload'],
    ['a word', '--- hello\n', 'document skipped: line 1: not a Kubernetes object, left as it is'],
  ])('%s: said, exit 0, byte for byte the same', async (_what, source, line) => {
    const { code, out, err } = await mesh(['inject', '-'], source);
    expect({ code, out, err }).toEqual({ code: 0, out: source, err: `${line}\n` });
  });

  it.each([
    ['UDP', 'containers: [{name: a, ports: [{containerPort: 53, protocol: UDP}]}]', 'port 53 of container a is UDP'],
    ['one process namespace', 'shareProcessNamespace: true, containers: [{name: a}]', "can read the proxy's key"],
  ])('%s is warned of', async (_what, spec, warning) => {
    const { code, err } = await mesh(['inject', '-'], pod('web', spec));
    expect(code).toBe(0);
    expect(err).toContain('pod/web injected\n‼ pod/web: ');
    expect(err).toContain(warning);
  });
});

describe('input that cannot be read', () => {
  const latin = Buffer.from('kind: Pod\nmetadata: {name: caf\xe9}\n', 'latin1');
  it.each<[string, string | Buffer, string, string]>([
    ['broken YAML', 'kind: Pod\nmetadata:\n  name: [a\nspec: {}\n', 'broken-yaml', ':4:1: '],
    ['a tab for a blank', 'kind: Pod\nmetadata:\n\tname: a\n', 'broken-yaml', ':3:1: '],
    ['a key twice', 'kind: Pod\nmetadata:\n  name: a\n  name: b\n', 'broken-yaml', ':4:3: Map keys must be unique'],
    ['an alias of nothing', 'kind: Pod\nspec: *none\n', 'broken-yaml', ':1:1: '],
    ['another encoding', latin, 'not-utf8', 'is not UTF-8 text'],
    ['UTF-16', Buffer.from('\uFEFFkind: Pod\n', 'utf16le'), 'not-utf8', 'is not UTF-8 text'],
    ['nothing', '# only a comment\n', 'no-objects', 'There is no Kubernetes object in '],
  ])('%s is named with its place: exit 1', async (_what, content, code, text) => {
    const path = write('x.yaml', content);
    const result = await mesh(['inject', path]);
    expect([result.code, result.out]).toEqual([1, '']);
    expect(result.err).toContain(path);
    expect(result.err).toContain(text);
    expect(result.err).toContain(`errors#${code}`);
  });

  it.each([
    [['/nowhere.yaml'], 1, 'Cannot read /nowhere.yaml'],
    [['http://example.com/x.yaml'], 2, 'only https addresses are'],
    [['-', '-'], 2, 'can be named once only'],
    [['--trust-domain', 'A b', '-'], 2, '"A b" is not a trust domain'],
    [['--image', '', '-'], 2, '"" is not an image reference'],
    [[], 2, "Missing required argument 'manifests'"],
  ])('%j', async (args, code, text) => {
    const result = await mesh(['inject', ...args]);
    expect([result.code, result.out]).toEqual([code, '']);
    expect(result.err).toContain(text);
  });
});
