import { describe, expect, test } from 'vitest';
import { editManifest } from './manifest.ts';

const options = { image: 'mesh.dev/mesh:1', version: '1', trustDomain: 'cluster.local' };
const pod = (spec: string) => `apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n${spec}`;

const manifests: Record<string, string> = {
  'comments and quotes': `# top\n---\n${pod('  # why\n  containers:\n  - name: "a" # q\n    image: \'b\'\n')}---\nkind: Service\nmetadata: {name: s}\n`,
  'existing lists': pod('  initContainers:\n  - name: i\n  containers: [{name: a}]\n  volumes:\n    - name: v\n'),
  'flow with an empty list': pod('  {containers: [{name: a}], volumes: [ ]}\n'),
  'carriage returns': pod('  containers:\n  - name: a\n').replaceAll('\n', '\r\n'),
  json: JSON.stringify(
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { containers: [{ name: 'a' }] } },
    null,
    2,
  ),
  'a cron job':
    'apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          containers:\n          - name: a\n',
  'a list':
    'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n    labels:\n      x: y\n  spec:\n    containers:\n    - name: a\n',
  'a byte order mark': `\uFEFF${pod('  containers:\n  - name: a\n')}`,
  'an empty label map': 'kind: Pod\nmetadata:\n  labels:\n  annotations: {}\nspec:\n  containers:\n  - name: a\n...\n',
};

describe('a manifest edited in place', () => {
  test.each(Object.entries(manifests))('%s: twice equals once, and comes back byte for byte', (_, source) => {
    const once = editManifest(source, { ...options, mode: 'inject' });
    expect(once.reports.map((report) => report.outcome)).toContain('injected');
    expect(editManifest(once.text, { ...options, mode: 'inject' }).text).toBe(once.text);
    expect(editManifest(once.text, { ...options, mode: 'uninject' }).text).toBe(source);
  });

  test.each(Object.entries(manifests))('%s: the same with the CNI plugin', (_, source) => {
    const cni = { ...options, cni: true };
    const once = editManifest(source, { ...cni, mode: 'inject' });
    expect(once.text).toContain('mesh-validate');
    expect(once.text).not.toContain('mesh-init');
    expect(editManifest(once.text, { ...cni, mode: 'inject' }).text).toBe(once.text);
    expect(editManifest(once.text, { ...options, mode: 'uninject' }).text).toBe(source);
  });

  test('host network fails with its reason', () => {
    const { text, reports } = editManifest(pod('  hostNetwork: true\n  containers:\n  - name: a\n'), {
      ...options,
      mode: 'inject',
    });
    expect(reports[0]).toMatchObject({ outcome: 'failed', code: 'host-network' });
    expect(text).not.toContain('mesh-proxy');
  });
});
