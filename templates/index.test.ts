import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
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

test('the manifest of an install is the golden one', () => {
  const golden = new URL('../test/golden/install.yaml', import.meta.url);
  const yaml = renderInstall(options)
    .map((object) => stringify(object))
    .join('---\n');
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(golden, yaml);
  expect(yaml).toBe(readFileSync(golden, 'utf8'));
});

test('extra environment is applied in one order, whatever order it was given in', () => {
  const one = renderInstall({ ...options, controlEnv: { MESH_B: '2', MESH_A: '1' } });
  const two = renderInstall({ ...options, controlEnv: { MESH_A: '1', MESH_B: '2' } });
  expect(JSON.stringify(one)).toBe(JSON.stringify(two));
  expect(JSON.stringify(one)).toContain('{"name":"MESH_A","value":"1"},{"name":"MESH_B","value":"2"}');
});
