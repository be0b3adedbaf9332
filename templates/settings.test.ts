import { expect, test } from 'vitest';
import { type InstallOptions, renderInstall } from './index.ts';
import { keptSettings } from './settings.ts';

const options: InstallOptions = {
  image: 'ghcr.io/acme/mesh:0.1.0',
  version: '0.1.0',
  namespace: 'mesh-system',
  trustDomain: 'acme.example',
  ha: true,
  imagePullSecrets: ['registry'],
  controlEnv: { MESH_CONTROL_LOG_LEVEL: 'debug' },
};
const deployment = (of: InstallOptions) => renderInstall(of).find((one) => one.kind === 'Deployment')!;

test('an upgrade keeps every option, and takes the new image from the same registry', () => {
  const kept = { ...options, version: '0.2.0', image: 'ghcr.io/acme/mesh:0.2.0' };
  expect(keptSettings(deployment(options), '0.2.0')).toEqual(kept);
});

test('an upgrade keeps the CNI plugin, with its folders', () => {
  const cni = { binDir: '/var/lib/cni/bin', confDir: '/etc/cni/conf' };
  const chained = { ...options, cni };
  expect(keptSettings(deployment(chained), '0.1.0')).toEqual(chained);
  expect(renderInstall(keptSettings(deployment(chained), '0.1.0'))).toEqual(renderInstall(chained));
});

test('an upgrade to the same version changes nothing', () => {
  const plain = { ...options, ha: false, imagePullSecrets: [], controlEnv: {} };
  expect(renderInstall(keptSettings(deployment(plain), '0.1.0'))).toEqual(renderInstall(plain));
});

test('an image that is not named after the version is kept', () => {
  const pinned = { ...options, image: 'ghcr.io/acme/mesh@sha256:abc' };
  expect(keptSettings(deployment(pinned), '0.2.0').image).toBe(pinned.image);
});
