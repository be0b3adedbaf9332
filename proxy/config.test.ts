import { expect, test } from 'vitest';
import { inPortRanges, parseConfig } from './config.ts';

const enough = {
  MESH_PROXY_POD_NAME: 'web-1',
  MESH_PROXY_POD_NAMESPACE: 'shop',
  MESH_PROXY_POD_IPS: '10.0.0.1,fd00::1',
  MESH_PROXY_SERVICE_ACCOUNT: 'web',
};

test('what is not set has its default', () => {
  const parsed = parseConfig(enough);
  expect(parsed).toMatchObject({
    config: {
      workload: 'pod/web-1',
      controlIdentity: 'spiffe://cluster.local/ns/mesh-system/sa/mesh-control',
      controlHost: 'mesh-control.mesh-system.svc.cluster.local',
      outboundPort: 4140,
      gracePeriodMs: 30_000,
      podIps: ['10.0.0.1', 'fd00::1'],
    },
  });
});

test('every problem is told at once', () => {
  const parsed = parseConfig({
    MESH_PROXY_POD_NAME: 'web-1',
    MESH_PROXY_POD_IPS: 'nowhere',
    MESH_PROXY_OPAQUE_PORTS: '80,x',
    MESH_PROXY_LOG_LEVEL: 'loud',
    MESH_PROXY_ADMIN_PORT: '70000',
    MESH_PROXY_CONTROL_IDENTITY: 'someone',
  });
  const problems = 'problems' in parsed ? parsed.problems.join('\n') : '';
  for (const name of ['POD_NAMESPACE', 'SERVICE_ACCOUNT', 'POD_IPS', 'OPAQUE_PORTS', 'LOG_LEVEL', 'ADMIN_PORT']) {
    expect(problems).toContain(`MESH_PROXY_${name}`);
  }
  expect(problems).toContain('MESH_PROXY_CONTROL_IDENTITY: "someone"');
});

test('opaque ports are ports and ranges', () => {
  const parsed = parseConfig({ ...enough, MESH_PROXY_OPAQUE_PORTS: '25, 3000-3002' });
  const ranges = 'config' in parsed ? parsed.config.opaquePorts : [];
  expect([25, 3000, 3002].every((port) => inPortRanges(ranges, port))).toBe(true);
  expect(inPortRanges(ranges, 3003)).toBe(false);
});
