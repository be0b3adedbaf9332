import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { defaultCni } from './cni.ts';
import { type InstallOptions, renderInstall } from './index.ts';

const options: InstallOptions = {
  image: 'mesh.dev/mesh:0.1.0',
  version: '0.1.0',
  namespace: 'mesh-system',
  trustDomain: 'cluster.local',
  ha: false,
  imagePullSecrets: [],
  controlEnv: {},
};

test.each([
  ['install', options],
  ['install-cni', { ...options, cni: defaultCni }],
])('the manifest of an %s is the golden one', (name, given) => {
  const golden = new URL(`../test/golden/${name}.yaml`, import.meta.url);
  const yaml = renderInstall(given)
    .map((object) => stringify(object))
    .join('---\n');
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(golden, yaml);
  expect(yaml).toBe(readFileSync(golden, 'utf8'));
});

test('the CNI plugin alone has folders of the host, and its namespace alone allows them', () => {
  const objects = renderInstall({ ...options, cni: defaultCni });
  const withHost = objects.filter((object) => JSON.stringify(object).includes('hostPath'));
  expect(withHost.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)).toEqual([
    'DaemonSet mesh-cni/mesh-cni',
  ]);
  const levels = objects.flatMap(({ kind, metadata }) =>
    kind === 'Namespace' ? [[metadata.name, metadata.labels!['pod-security.kubernetes.io/enforce']]] : [],
  );
  expect(levels).toEqual([
    ['mesh-system', 'restricted'],
    ['mesh-cni', 'privileged'],
  ]);
});

test('extra environment is applied in one order, whatever order it was given in', () => {
  const one = renderInstall({ ...options, controlEnv: { MESH_B: '2', MESH_A: '1' } });
  const two = renderInstall({ ...options, controlEnv: { MESH_A: '1', MESH_B: '2' } });
  expect(JSON.stringify(one)).toBe(JSON.stringify(two));
  expect(JSON.stringify(one)).toContain('{"name":"MESH_A","value":"1"},{"name":"MESH_B","value":"2"}');
});
