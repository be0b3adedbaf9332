import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { editManifest, namespaceAnnotations } from './manifest.ts';
import { ManifestError } from './parse.ts';

const options = { image: 'mesh.dev/mesh:1', version: '1', trustDomain: 'cluster.local' };
const edit = (text: string, mode: 'inject' | 'uninject' | 'annotate') => editManifest(text, { ...options, mode });
const folder = new URL('testdata/', import.meta.url);
const corpus = readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), 'utf8')] as const);

function contains(whole: Iterable<string>, parts: Iterable<string>): boolean {
  const iterator = whole[Symbol.iterator]();
  for (const part of parts) {
    let next = iterator.next();
    while (!next.done && next.value !== part) next = iterator.next();
    if (next.done) return false;
  }
  return true;
}

/** Formats in which a collection that shares its line with others has to grow on that line, or a null gives way. */
const inline = new Set([
  ...['flow.yaml', 'flow-lines.yaml', 'json.yaml', 'json-one-line.yaml', 'list-kinds.yaml'],
  ...['multi-line-scalars.yaml', 'nulls.yaml', 'no-newline.yaml'],
]);

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const text = fc.constantFrom('x', '1', 'a: b', '#', '- y', 'é\tü', 'two\nlines\n', '', 'null', '{', ' lead');
const map = fc.dictionary(fc.constantFrom('app', 'tier', 'a/b'), text);
const named = fc.record({ name: fc.constantFrom('v', 'w') });
const template = fc.record({
  metadata: maybe(fc.record({ labels: maybe(map), annotations: maybe(map) }, { requiredKeys: [] })),
  spec: fc.record(
    {
      containers: fc.array(fc.record({ name: text, args: maybe(fc.array(text, { maxLength: 3 })) }), {
        minLength: 1,
        maxLength: 3,
      }),
      initContainers: maybe(fc.array(named, { maxLength: 2 })),
      volumes: maybe(fc.option(fc.array(named, { maxLength: 2 }))),
      automountServiceAccountToken: maybe(fc.constant(false)),
    },
    { requiredKeys: ['containers'] },
  ),
});
const object = fc.oneof(
  template.map((pod) => ({ kind: 'Pod', ...pod })),
  fc
    .tuple(template, fc.constantFrom('Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job'))
    .map(([pod, kind]) => ({ apiVersion: 'v1', kind, metadata: { name: 'w' }, spec: { replicas: 1, template: pod } })),
  template.map((pod) => ({ kind: 'CronJob', spec: { jobTemplate: { spec: { template: pod } } } })),
);
const style = fc.record({
  indent: fc.constantFrom(2, 3, 4),
  indentSeq: fc.boolean(),
  lineWidth: fc.constantFrom(0, 40),
  collectionStyle: fc.constantFrom('any', 'flow'),
  blockQuote: fc.constantFrom(true, false, 'folded'),
  defaultStringType: fc.constantFrom('PLAIN', 'QUOTE_DOUBLE', 'QUOTE_SINGLE'),
  defaultKeyType: fc.constantFrom('PLAIN', 'QUOTE_DOUBLE'),
});
/** One document with a comment or an empty line ahead of some of its lines, where that says nothing else. */
const document = fc
  .tuple(object, style, fc.array(fc.constantFrom('', '', '', '# c', '    # - d: e', '\n'), { maxLength: 12 }))
  .map(([value, how, noise]) => {
    const plain = stringify(value, how as never);
    const noisy = plain
      .split('\n')
      .map((line, index) => (noise[index] ? `${noise[index].trimEnd()}\n${line}` : line))
      .join('\n');
    try {
      return JSON.stringify(parse(noisy)) === JSON.stringify(parse(plain)) ? noisy : plain;
    } catch {
      return plain;
    }
  });
const manifest = fc
  .tuple(
    fc.array(document, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '---\n', '\uFEFF', '# head\n--- # start\n'),
    fc.constantFrom('---\n', '--- \n', '...\n---\n', '---\n# empty\n---\n'),
    fc.constantFrom('', '...\n', '# tail'),
    fc.boolean(),
  )
  .map(([documents, head, between, tail, carriage]) => {
    const source = head + documents.join(between) + tail;
    return carriage ? source.replaceAll('\n', '\r\n') : source;
  });

describe.each(['inject', 'annotate'] as const)('%s', (mode) => {
  test.each(corpus)('%s: only insertions, twice equals once, comes back byte for byte', (name, source) => {
    const once = edit(source, mode);
    expect(once.reports.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    expect(once.reports.map(({ outcome }) => outcome)).toContain('injected');
    if (name !== 'json.yaml') expect(contains(once.text, source)).toBe(true);
    if (!inline.has(name)) expect(contains(once.text.split('\n'), source.split('\n'))).toBe(true);
    expect(edit(once.text, mode).text).toBe(once.text);
    expect(edit(once.text, 'uninject').text).toBe(source);
  });

  test.each(corpus)('%s: annotated first and injected then, it comes back too', (_name, source) => {
    const both = edit(edit(source, 'annotate').text, 'inject').text;
    expect(edit(both, mode).text).toBe(both);
    expect(edit(both, 'uninject').text).toBe(source);
  });

  test('generated manifests of every kind, in any style, come back', () => {
    fc.assert(
      fc.property(manifest, (source) => {
        const once = edit(source, mode);
        expect(once.reports.map(({ outcome }) => outcome)).toContain('injected');
        expect(once.reports.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
        expect(edit(once.text, mode).text).toBe(once.text);
        expect(edit(once.text, 'uninject').text).toBe(source);
      }),
      { numRuns: 60 },
    );
  });

  const pod = (spec: string, top = '') => `kind: Pod\nmetadata: {name: a${top}}\nspec:\n${spec}`;
  test.each([
    ['host-network', 'failed', 'redirect the whole node', pod('  hostNetwork: true\n  containers: [{name: a}]\n')],
    ['foreign-sidecar', 'failed', 'Istio', pod('  containers: [{name: a}, {name: istio-proxy}]\n')],
    [
      'foreign-sidecar',
      'failed',
      'Linkerd',
      pod('  containers: [{name: a}]\n  initContainers: [{name: linkerd-proxy}]\n'),
    ],
    [
      'annotation-disabled',
      'skipped',
      'is disabled',
      pod('  containers: [{name: a}]\n', ', annotations: {mesh.dev/inject: disabled}'),
    ],
    ['no-containers', 'failed', 'no containers', pod('  containers: []\n')],
    [
      'yaml-layout',
      'failed',
      'alias',
      'kind: Pod\nx: &s {containers: [{name: a}]}\nmetadata: &m {name: a}\ny: *m\nspec: *s\n',
    ],
  ])('%s: %s, with its reason, and the text stays', (code, outcome, reason, source) => {
    const { text, reports } = edit(source, mode);
    expect(reports[0]).toMatchObject({ code, outcome, reason: expect.stringContaining(reason) });
    expect(text).toBe(source);
  });

  test('a UDP port is warned of', () => {
    const { reports } = edit(pod('  containers: [{name: a, ports: [{containerPort: 53, protocol: UDP}]}]\n'), mode);
    expect(reports[0]?.outcome).toBe('injected');
    expect(reports[0]?.warnings).toEqual(['port 53 of container a is UDP: carried outside the mesh']);
  });

  test('broken YAML names its line', () => {
    expect(() => edit('kind: Pod\nmetadata:\n  name: [a\nspec: {}\n', mode)).toThrow(ManifestError);
  });

  test('a Namespace in another text of the call counts', () => {
    const namespaces = namespaceAnnotations([
      'kind: [',
      'kind: Namespace\nmetadata: {name: n, annotations: {mesh.dev/inject: disabled}}\n',
    ]);
    const source = pod('  containers: [{name: a}]\n', ', namespace: n');
    const { reports } = editManifest(source, { ...options, mode, namespaces });
    expect(reports[0]).toMatchObject({ code: 'annotation-disabled' });
  });
});
